//! The topic, as one member of the sink's group has it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use contracts::events::STREAMING_RECORD_ACCEPTED;
use event_bus_data::{BusError, DataBus, DataConsumer, Letter, Position, Reason, TopicIdentity};

use crate::domain::Place;
use crate::domain::round::{Record, Round};

#[async_trait]
pub trait Log: Send + Sync {
    /// The id the broker gave the topic when it was made: a topic made anew has another one.
    async fn topic_id(&self) -> Result<String, BusError>;
    /// Reads what is there into the round, at most `max` records, waiting up to `wait` for the
    /// first. Cancellation safe between records.
    async fn read(&self, round: &mut Round, max: usize, wait: Duration) -> Result<(), BusError>;
    /// Grows with every rebalance: reading begins again at the hint.
    fn epoch(&self) -> u64;
    /// The partitions that this member reads.
    fn partitions(&self) -> BTreeSet<i32>;
    /// Tells the group where to begin next time. It may be lost, and a former owner's is refused.
    fn hint(&self, next_offsets: &BTreeMap<i32, i64>) -> Result<(), BusError>;
    /// Puts a record into the dead letters; it is there once this returns.
    async fn bury(&self, letter: Letter<'_>, reason: Reason<'_>) -> Result<(), BusError>;
}

/// The cell's Kafka topic.
pub struct Topic {
    bus: DataBus,
    consumer: DataConsumer,
    identity: TopicIdentity,
}

impl Topic {
    pub fn new(bus: DataBus, consumer: DataConsumer) -> Result<Self, BusError> {
        let identity = bus.topic_identity(STREAMING_RECORD_ACCEPTED)?;
        Ok(Self { bus, consumer, identity })
    }
}

#[async_trait]
impl Log for Topic {
    async fn topic_id(&self) -> Result<String, BusError> {
        self.identity.ask().await
    }

    async fn read(&self, round: &mut Round, max: usize, wait: Duration) -> Result<(), BusError> {
        let read = self.consumer.drain(max, wait, |epoch, record| {
            let Position { partition, offset } = record.position();
            let (place, headers) = (Place { partition, offset }, record.headers());
            let (key, payload, made_ms) = (record.key(), record.payload(), record.timestamp_ms());
            let view = Record { place, key, payload, made_ms };
            round.read(epoch, &view, headers);
        });
        read.await.map(drop)
    }

    fn epoch(&self) -> u64 {
        self.consumer.assignment().epoch
    }

    fn partitions(&self) -> BTreeSet<i32> {
        self.consumer.assignment().partitions
    }

    fn hint(&self, next_offsets: &BTreeMap<i32, i64>) -> Result<(), BusError> {
        self.consumer.commit_hint(next_offsets)
    }

    async fn bury(&self, letter: Letter<'_>, reason: Reason<'_>) -> Result<(), BusError> {
        self.bus.dead_letter(letter, reason).await
    }
}
