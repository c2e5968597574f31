//! Envelopes off the data bus, for consumers that keep their own state in Postgres.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::time::Duration;

use contracts::Envelope;
use serde::de::DeserializeOwned;

use crate::consumer::{DataConsumer, RecordView};
use crate::dead_letter::{OwnedLetter, Reason};
use crate::{BusError, DataBus, OpenLineage, Position};

/// One event as it came.
#[derive(Debug, Clone)]
pub struct Delivery<P> {
    pub envelope: Envelope<P>,
    pub lineage: OpenLineage,
    pub position: Position,
    letter: OwnedLetter,
}

/// Hands out batches; commits when told. Delivers at least once: be idempotent by `event_id`.
pub struct EventConsumer<P> {
    bus: DataBus,
    consumer: DataConsumer,
    payload: PhantomData<fn() -> P>,
}

/// What a record turned out to be.
enum Decoded<P> {
    Event(Box<Delivery<P>>),
    Poison { letter: OwnedLetter, code: &'static str, detail: String },
}

impl<P: DeserializeOwned> EventConsumer<P> {
    pub(crate) fn new(bus: DataBus, consumer: DataConsumer) -> Self {
        Self { bus, consumer, payload: PhantomData }
    }

    /// At most `max` events, waiting up to `wait` for the first; empty if nothing came.
    ///
    /// Records that are no envelope of this event are in the dead letters before this returns.
    pub async fn next_batch(&self, max: usize, wait: Duration) -> Result<Vec<Delivery<P>>, BusError> {
        let mut decoded = Vec::new();
        let mut last_epoch = None;
        let visit = |epoch, record: RecordView<'_>| {
            // After a rebalance the uncommitted ones come again, here or elsewhere.
            if last_epoch.replace(epoch).is_some_and(|last| last != epoch) {
                decoded.clear();
            }
            decoded.push(decode(&record));
        };
        self.consumer.drain(max, wait, visit).await?;
        let mut events = Vec::with_capacity(decoded.len());
        for outcome in decoded {
            match outcome {
                Decoded::Event(delivery) => events.push(*delivery),
                Decoded::Poison { letter, code, detail } => self.give_up(&letter, code, &detail).await?,
            }
        }
        Ok(events)
    }

    /// Commits the batch and everything before it. Call it after the effects are durable.
    pub async fn commit(&self, batch: &[Delivery<P>]) -> Result<(), BusError> {
        let mut next: BTreeMap<i32, i64> = BTreeMap::new();
        for delivery in batch {
            let entry = next.entry(delivery.position.partition).or_insert(0);
            *entry = (*entry).max(delivery.position.offset + 1);
        }
        self.consumer.commit(&next).await
    }

    /// Gives one event up: into the dead letters, acknowledged. Commit the batch afterwards.
    pub async fn dead_letter(&self, delivery: &Delivery<P>, code: &str, detail: &str) -> Result<(), BusError> {
        self.give_up(&delivery.letter, code, detail).await
    }

    async fn give_up(&self, letter: &OwnedLetter, code: &str, detail: &str) -> Result<(), BusError> {
        let topic = self.consumer.topic();
        tracing::warn!(
            topic,
            partition = letter.position.partition,
            offset = letter.position.offset,
            code,
            "record given up"
        );
        self.bus.dead_letter(letter.as_letter(topic), Reason { code, detail }).await
    }
}

fn decode<P: DeserializeOwned>(record: &RecordView<'_>) -> Decoded<P> {
    let poison = |code, detail: String| Decoded::Poison { letter: OwnedLetter::of(record), code, detail };
    let lineage = match OpenLineage::parse(|name| record.header(name)) {
        Ok(lineage) => lineage,
        Err(error) => return poison("headers", error.to_string()),
    };
    match serde_json::from_slice::<Envelope<P>>(record.payload()) {
        Ok(envelope) => Decoded::Event(Box::new(Delivery {
            envelope,
            lineage,
            position: record.position(),
            letter: OwnedLetter::of(record),
        })),
        // serde_json's message names fields and positions, and quotes at most a scalar.
        Err(error) => poison("envelope", error.to_string()),
    }
}
