//! Producing: enqueue many records, then await all acknowledgements at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, util::Timeout};
use tokio::sync::Notify;

use crate::connection::{DELIVERY_DEADLINE, MAX_RECORD_BYTES};
use crate::{BusError, RecordHeaders};

/// Pause before another try when the local queue is full. The queue drains by thousands meanwhile.
const QUEUE_FULL_PAUSE: Duration = Duration::from_millis(2);

type Client = ThreadedProducer<Deliveries>;

/// An idempotent producer. The library gives one up for good when it can no longer tell whether a
/// record would be written twice; the next batch then has a new one, and the records of the old one
/// that were not acknowledged have failed.
#[derive(Clone)]
pub struct DataProducer {
    config: Arc<ClientConfig>,
    client: Arc<Mutex<Arc<Client>>>,
}

impl DataProducer {
    pub(crate) fn new(base: &ClientConfig) -> Result<Self, BusError> {
        let mut config = base.clone();
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("message.timeout.ms", DELIVERY_DEADLINE.as_millis().to_string())
            .set("message.max.bytes", MAX_RECORD_BYTES.to_string())
            .set("compression.type", "lz4")
            .set("linger.ms", "5")
            .set("batch.num.messages", "20000")
            .set("batch.size", "1000000")
            // Bounds of the local queue: beyond them a sender waits.
            .set("queue.buffering.max.messages", "200000")
            .set("queue.buffering.max.kbytes", "65536")
            // The partitioner of the Java clients, so that any tool finds a key where we put it.
            .set("partitioner", "murmur2_random");
        let client: Client = config.create_with_context(Deliveries).map_err(BusError::Client)?;
        Ok(Self { config: Arc::new(config), client: Arc::new(Mutex::new(Arc::new(client))) })
    }

    fn client(&self) -> Arc<Client> {
        let mut client = self.client.lock();
        if let Some((code, reason)) = client.client().fatal_error() {
            tracing::error!(%code, reason, "the data bus producer is given up");
            match self.config.create_with_context(Deliveries) {
                Ok(fresh) => *client = Arc::new(fresh),
                Err(error) => tracing::error!(%error, "no new data bus producer"),
            }
        }
        Arc::clone(&client)
    }

    /// Begins a batch for one topic.
    pub fn batch<'t>(&self, topic: &'t str) -> Batch<'t> {
        Batch { client: self.client(), topic, pending: Arc::new(Pending::default()), sent: 0 }
    }

    /// One record, acknowledged.
    pub async fn send(
        &self,
        topic: &str,
        key: &[u8],
        payload: &[u8],
        headers: &RecordHeaders,
    ) -> Result<Acknowledged, BusError> {
        let mut batch = self.batch(topic);
        batch.send(key, payload, headers).await?;
        batch.acknowledged().await
    }

    /// Waits until nothing is on its way any more; for a drain.
    pub async fn flush(&self, deadline: Duration) -> Result<(), BusError> {
        let producer = self.client();
        let flushed = tokio::task::spawn_blocking(move || producer.flush(Timeout::After(deadline))).await;
        match flushed {
            Ok(result) => result.map_err(BusError::Unavailable),
            Err(_) => Err(BusError::Unavailable(KafkaError::Canceled)),
        }
    }
}

/// Where the records of a batch landed: first and last offset by partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Acknowledged {
    pub records: u64,
    pub offsets: BTreeMap<i32, (i64, i64)>,
}

/// Records enqueued together; [`Batch::acknowledged`] waits for all of them.
pub struct Batch<'t> {
    client: Arc<Client>,
    topic: &'t str,
    pending: Arc<Pending>,
    sent: u64,
}

impl Batch<'_> {
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Enqueues; waits, without blocking the thread, while the local queue is full.
    pub async fn send(&mut self, key: &[u8], payload: &[u8], headers: &RecordHeaders) -> Result<(), BusError> {
        let since = Instant::now();
        while !self.try_send(key, payload, headers)? {
            if since.elapsed() > DELIVERY_DEADLINE {
                return Err(BusError::Full);
            }
            tokio::time::sleep(QUEUE_FULL_PAUSE).await;
        }
        Ok(())
    }

    /// `false` if the local queue is full at the moment.
    pub fn try_send(&mut self, key: &[u8], payload: &[u8], headers: &RecordHeaders) -> Result<bool, BusError> {
        let record = BaseRecord::with_opaque_to(self.topic, Arc::clone(&self.pending))
            .key(key)
            .payload(payload)
            .headers(headers.to_owned_headers());
        self.pending.expect_one();
        match self.client.send(record) {
            Ok(()) => {
                self.sent += 1;
                Ok(true)
            }
            Err((error, _record)) => {
                self.pending.forget_one();
                match error.rdkafka_error_code() {
                    Some(RDKafkaErrorCode::QueueFull) => Ok(false),
                    _ => Err(BusError::of(self.topic, error)),
                }
            }
        }
    }

    /// Waits for every record's acknowledgement. An error means that some may be on the topic and
    /// some not: the caller says so or sends again.
    pub async fn acknowledged(self) -> Result<Acknowledged, BusError> {
        self.pending.settled().await;
        let outcome = std::mem::take(&mut *self.pending.outcome.lock());
        match outcome.first_error {
            None => Ok(Acknowledged { records: self.sent, offsets: outcome.offsets }),
            Some(error) => match BusError::of(self.topic, error) {
                BusError::Unavailable(source) => {
                    Err(BusError::NotAcknowledged { failed: outcome.failed, sent: self.sent, source })
                }
                other => Err(other),
            },
        }
    }
}

/// Shared between a batch and the delivery reports of its records.
#[derive(Default)]
pub(crate) struct Pending {
    outstanding: AtomicU64,
    outcome: Mutex<Outcome>,
    settled: Notify,
}

#[derive(Default)]
struct Outcome {
    offsets: BTreeMap<i32, (i64, i64)>,
    failed: u64,
    first_error: Option<KafkaError>,
}

impl Pending {
    fn expect_one(&self) {
        self.outstanding.fetch_add(1, Ordering::AcqRel);
    }

    fn forget_one(&self) {
        if self.outstanding.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.settled.notify_waiters();
        }
    }

    async fn settled(&self) {
        loop {
            let notified = self.settled.notified();
            tokio::pin!(notified);
            // Registered before the look at the counter, so that the last report cannot slip between.
            notified.as_mut().enable();
            if self.outstanding.load(Ordering::Acquire) == 0 {
                return;
            }
            notified.await;
        }
    }

    fn report(&self, result: &DeliveryResult<'_>) {
        {
            let mut outcome = self.outcome.lock();
            match result {
                Ok(message) => {
                    let (partition, offset) = (message.partition(), message.offset());
                    let range = outcome.offsets.entry(partition).or_insert((offset, offset));
                    *range = (range.0.min(offset), range.1.max(offset));
                }
                Err((error, _)) => {
                    outcome.failed += 1;
                    outcome.first_error.get_or_insert_with(|| error.clone());
                }
            }
        }
        self.forget_one();
    }
}

/// Runs on librdkafka's own poll thread.
pub(crate) struct Deliveries;

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "data bus producer");
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Arc<Pending>;

    fn delivery(&self, result: &DeliveryResult<'_>, pending: Arc<Pending>) {
        pending.report(result);
    }
}

/// librdkafka's own lines, in our log and never on the terminal.
pub(crate) fn log_line(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
            tracing::error!(facility, message, "librdkafka");
        }
        RDKafkaLogLevel::Warning => tracing::warn!(facility, message, "librdkafka"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => tracing::info!(facility, message, "librdkafka"),
        RDKafkaLogLevel::Debug => tracing::debug!(facility, message, "librdkafka"),
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;
    use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

    use super::*;
    use crate::OpenLineage;

    const TOPIC: &str = "records";

    #[tokio::test]
    async fn a_producer_that_is_given_up_is_followed_by_another() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic(TOPIC, 1, 1).unwrap();
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", cluster.bootstrap_servers());
        let producer = DataProducer::new(&config).unwrap();
        let refusal = RDKafkaRespErr::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED;
        cluster.request_errors(RDKafkaApiKey::InitProducerId, &[refusal]);
        let headers = RecordHeaders::new(&OpenLineage::now("cell", "job", uuid::Uuid::nil(), "test"));
        let send = || producer.send(TOPIC, b"key", b"payload", &headers);
        let first = producer.client();
        assert!(send().await.is_err());
        assert!(first.client().fatal_error().is_some());
        assert_eq!(send().await.unwrap().records, 1);
    }
}
