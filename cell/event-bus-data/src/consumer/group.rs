//! A member of a consumer group, with its rebalances made visible.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use parking_lot::Mutex;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::time::Instant;

use super::{RecordView, reader_config};
use crate::BusError;
use crate::producer::log_line;

/// What the group gave this member. `epoch` grows with every rebalance: whoever buffers records
/// must throw its buffer away when it changes, because reading begins again at the committed
/// offsets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Assignment {
    pub epoch: u64,
    pub partitions: BTreeSet<i32>,
}

pub struct DataConsumer {
    inner: Arc<StreamConsumer<Hooks>>,
    topic: &'static str,
}

impl DataConsumer {
    pub(crate) fn new(base: &ClientConfig, topic: &'static str, group: &str) -> Result<Self, BusError> {
        let mut config = reader_config(base, group);
        config
            .set("auto.offset.reset", "earliest")
            .set("session.timeout.ms", "6000")
            .set("heartbeat.interval.ms", "1000")
            .set("max.poll.interval.ms", "120000")
            // Eager: every rebalance revokes everything, so that one epoch number tells it all.
            .set("partition.assignment.strategy", "range");
        let hooks = Hooks { assignment: Mutex::new(Assignment::default()) };
        let inner: StreamConsumer<Hooks> = config.create_with_context(hooks).map_err(BusError::Client)?;
        inner.subscribe(&[topic]).map_err(|e| BusError::of(topic, e))?;
        Ok(Self { inner: Arc::new(inner), topic })
    }

    pub fn topic(&self) -> &'static str {
        self.topic
    }

    pub fn assignment(&self) -> Assignment {
        self.inner.context().assignment.lock().clone()
    }

    /// Visits the records that are there, at most `max`, waiting up to `wait` for the first one, and
    /// returns how many there were. Each comes with the epoch it was read in; epochs only grow.
    /// Cancellation safe between records.
    pub async fn drain(
        &self,
        max: usize,
        wait: Duration,
        mut visit: impl FnMut(u64, RecordView<'_>),
    ) -> Result<usize, BusError> {
        let (mut records, deadline) = (0, Instant::now() + wait);
        while records < max {
            let next = if records == 0 {
                tokio::time::timeout_at(deadline, self.inner.recv()).await.ok()
            } else {
                self.inner.recv().now_or_never()
            };
            let message = match next {
                None => break,
                Some(Ok(message)) => message,
                Some(Err(error)) if is_passing(&error) => continue,
                Some(Err(error)) => return Err(BusError::of(self.topic, error)),
            };
            // The callback ran inside `recv`, before this message was handed out.
            let epoch = self.inner.context().assignment.lock().epoch;
            visit(epoch, RecordView::new(&message));
            records += 1;
        }
        Ok(records)
    }

    /// Commits the next offset to read by partition, and waits for the broker's answer. It is only
    /// accepted while this member owns the partitions.
    pub async fn commit(&self, next_offsets: &BTreeMap<i32, i64>) -> Result<(), BusError> {
        if next_offsets.is_empty() {
            return Ok(());
        }
        let list = self.offsets(next_offsets)?;
        self.ask(move |consumer| consumer.commit(&list, CommitMode::Sync)).await
    }

    /// The same without waiting: for a hint that may be lost.
    pub fn commit_hint(&self, next_offsets: &BTreeMap<i32, i64>) -> Result<(), BusError> {
        if next_offsets.is_empty() {
            return Ok(());
        }
        let list = self.offsets(next_offsets)?;
        self.inner.commit(&list, CommitMode::Async).map_err(|e| BusError::of(self.topic, e))
    }

    /// librdkafka's questions block: never on a runtime's worker.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&StreamConsumer<Hooks>) -> Result<T, KafkaError> + Send + 'static,
    ) -> Result<T, BusError> {
        let (consumer, topic) = (Arc::clone(&self.inner), self.topic);
        match tokio::task::spawn_blocking(move || question(&consumer)).await {
            Ok(answer) => answer.map_err(|e| BusError::of(topic, e)),
            Err(_) => Err(BusError::Unavailable(KafkaError::Canceled)),
        }
    }

    fn offsets(&self, next_offsets: &BTreeMap<i32, i64>) -> Result<TopicPartitionList, BusError> {
        let mut list = TopicPartitionList::with_capacity(next_offsets.len());
        for (partition, offset) in next_offsets {
            list.add_partition_offset(self.topic, *partition, Offset::Offset(*offset))
                .map_err(|e| BusError::of(self.topic, e))?;
        }
        Ok(list)
    }
}

/// The library reconnects by itself. While the brokers are away it queues such a word every second, and
/// whoever paused at each would still be pausing long after they are back.
fn is_passing(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{AllBrokersDown, BrokerTransportFailure, Resolve};
    matches!(error.rdkafka_error_code(), Some(AllBrokersDown | BrokerTransportFailure | Resolve))
}

struct Hooks {
    assignment: Mutex<Assignment>,
}

impl ClientContext for Hooks {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "data bus consumer");
    }
}

impl ConsumerContext for Hooks {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let mut assignment = self.assignment.lock();
        assignment.epoch += 1;
        match rebalance {
            Rebalance::Assign(list) => assignment.partitions = list.elements().iter().map(|e| e.partition()).collect(),
            Rebalance::Revoke(_) | Rebalance::Error(_) => assignment.partitions.clear(),
        }
        tracing::info!(epoch = assignment.epoch, partitions = ?assignment.partitions, "partitions of this group member");
    }

    fn commit_callback(&self, result: Result<(), KafkaError>, _: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::debug!(%error, "offset hint not committed");
        }
    }
}
