//! Reading a topic without a group: for a live view that leaves no trace.

use std::time::Duration;

use futures::FutureExt;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{Consumer, ConsumerContext, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::{RecordView, partitions, reader_config};
use crate::BusError;
use crate::producer::log_line;

const METADATA_DEADLINE: Duration = Duration::from_secs(10);

/// Where a tail begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TailStart {
    Earliest,
    Latest,
}

/// All partitions of one topic. Makes threads of its own: callers bound how many there are.
pub struct TailReader {
    inner: Option<StreamConsumer<Quiet>>,
    topic: &'static str,
    /// Partition, where reading began, and its next-to-be-written offset then.
    ranges: Vec<(i32, i64, i64)>,
}

impl TailReader {
    pub(crate) async fn open(
        base: ClientConfig,
        topic: &'static str,
        group: &str,
        start: TailStart,
    ) -> Result<Self, BusError> {
        let mut config = reader_config(&base, group);
        // Nobody reads thousands of rows a second: keep little ahead.
        config
            .set("auto.offset.reset", "latest")
            .set("queued.max.messages.kbytes", "4096")
            .set("queued.min.messages", "1000");
        let opened = tokio::task::spawn_blocking(move || -> Result<_, KafkaError> {
            let inner: StreamConsumer<Quiet> = config.create_with_context(Quiet)?;
            let mut list = TopicPartitionList::new();
            let mut ranges = Vec::new();
            for partition in partitions(&inner, topic, METADATA_DEADLINE)? {
                let (low, high) = inner.fetch_watermarks(topic, partition, METADATA_DEADLINE)?;
                let begin = if start == TailStart::Earliest { low } else { high };
                list.add_partition_offset(topic, partition, Offset::Offset(begin))?;
                ranges.push((partition, begin, high));
            }
            inner.assign(&list)?;
            Ok((inner, ranges))
        });
        match opened.await {
            Ok(Ok((inner, ranges))) => Ok(Self { inner: Some(inner), topic, ranges }),
            Ok(Err(error)) => Err(BusError::of(topic, error)),
            Err(_) => Err(BusError::Unavailable(KafkaError::Canceled)),
        }
    }

    /// Partition, offset reading began at, and next-to-be-written offset, when the tail was opened.
    pub fn ranges(&self) -> &[(i32, i64, i64)] {
        &self.ranges
    }

    /// Visits what is there, at most `max` records, waiting up to `wait` for the first. Returns how
    /// many there were.
    pub async fn drain(
        &self,
        max: usize,
        wait: Duration,
        mut visit: impl FnMut(RecordView<'_>),
    ) -> Result<usize, BusError> {
        let Some(inner) = &self.inner else { return Ok(0) };
        let mut records = 0;
        while records < max {
            let next = if records == 0 {
                tokio::time::timeout(wait, inner.recv()).await.ok()
            } else {
                inner.recv().now_or_never()
            };
            let Some(next) = next else { break };
            let message = next.map_err(|e| BusError::of(self.topic, e))?;
            visit(RecordView::new(&message));
            records += 1;
        }
        Ok(records)
    }
}

impl Drop for TailReader {
    /// Closing joins librdkafka's threads: not on a runtime's worker.
    fn drop(&mut self) {
        if let Some(inner) = self.inner.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn_blocking(move || drop(inner));
        }
    }
}

struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "data bus tail");
    }
}

impl ConsumerContext for Quiet {}
