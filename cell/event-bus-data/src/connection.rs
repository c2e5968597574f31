//! How a service reaches the broker: SCRAM-SHA-512, its own principal.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use contracts::events::{self, Bus, EventDeclaration};
use kit::deliveries::Deliveries;
use kit::service::KafkaEndpoint;
use parking_lot::Mutex;
use rdkafka::ClientConfig;
use serde::de::DeserializeOwned;

use crate::consumer::{DataConsumer, LagMeter, TailReader, TailStart};
use crate::event_consumer::EventConsumer;
use crate::producer::DataProducer;
use crate::topic_admin::TopicIdentity;
use crate::{BusError, dead_letter};

/// One service's connection. Cheap to clone; the broker may be away when it is made.
#[derive(Clone)]
pub struct DataBus {
    pub(crate) endpoint: Arc<KafkaEndpoint>,
    pub(crate) service: &'static str,
    producer: DataProducer,
    pub(crate) deliveries: Deliveries,
    pub(crate) groups: Groups,
}

/// Every group that stores events here, by event and purpose; its meter once it has been asked for.
type Groups = Arc<Mutex<BTreeMap<(String, String), Option<Arc<LagMeter>>>>>;

/// A record, and with it a batch, is given up after this long without an acknowledgement.
pub(crate) const DELIVERY_DEADLINE: Duration = Duration::from_secs(30);
/// Largest record on the bus, headers included; the broker's own default is the same.
pub(crate) const MAX_RECORD_BYTES: usize = 1_000_000;

impl DataBus {
    pub fn connect(endpoint: &KafkaEndpoint, service: &'static str) -> Result<Self, BusError> {
        let producer = DataProducer::new(&client_config(endpoint, service))?;
        Ok(Self {
            endpoint: Arc::new(endpoint.clone()),
            service,
            producer,
            deliveries: Deliveries::default(),
            groups: Arc::default(),
        })
    }

    /// The same, its consumers seen.
    pub fn watched(self, deliveries: Deliveries) -> Self {
        Self { deliveries, ..self }
    }

    pub fn producer(&self) -> &DataProducer {
        &self.producer
    }

    /// A member of group `<service>.<purpose>` on a declared event's topic.
    pub fn consumer(&self, event: &str, purpose: &str) -> Result<DataConsumer, BusError> {
        let event = declared(event)?;
        DataConsumer::new(
            &client_config(&self.endpoint, self.service),
            event.name,
            &contracts::kafka::group(self.service, purpose),
        )
    }

    /// The same for a service that stores the events. It is waited for when a tenant leaves; whoever reads in another way
    /// says itself when it is done (`kit::moving::Settles`).
    pub fn events<P>(&self, event: &str, purpose: &str) -> Result<EventConsumer<P>, BusError>
    where
        P: DeserializeOwned + Send + Sync + 'static,
    {
        let consumer = self.consumer(event, purpose)?;
        self.groups.lock().entry((event.to_owned(), purpose.to_owned())).or_default();
        Ok(EventConsumer::new(self.clone(), consumer))
    }

    /// How far group `<service>.<purpose>` is behind on a declared event's topic.
    pub fn lag_meter(&self, event: &str, purpose: &str) -> Result<LagMeter, BusError> {
        let event = declared(event)?;
        LagMeter::new(
            &client_config(&self.endpoint, self.service),
            event.name,
            &contracts::kafka::group(self.service, purpose),
        )
    }

    /// Reads a topic without belonging to a group and without leaving a trace on the broker.
    pub async fn tail(&self, event: &str, start: TailStart) -> Result<TailReader, BusError> {
        let event = declared(event)?;
        let config = client_config(&self.endpoint, self.service);
        TailReader::open(config, event.name, &contracts::kafka::group(self.service, "tail"), start).await
    }

    /// Asks whether a declared event's topic is still the same one.
    pub fn topic_identity(&self, event: &str) -> Result<TopicIdentity, BusError> {
        let event = declared(event)?;
        TopicIdentity::new(&client_config(&self.endpoint, self.service), event.name)
    }

    /// Puts a record a consumer gives up into `__dlq.<topic>` and waits for the acknowledgement.
    pub async fn dead_letter(
        &self,
        record: dead_letter::Letter<'_>,
        reason: dead_letter::Reason<'_>,
    ) -> Result<(), BusError> {
        dead_letter::publish(&self.producer, self.service, record, reason).await
    }
}

pub(crate) fn declared(name: &str) -> Result<&'static EventDeclaration, BusError> {
    match events::find(name) {
        Some(event) if matches!(event.bus, Bus::Data { .. }) => Ok(event),
        _ => Err(BusError::Undeclared(name.to_owned())),
    }
}

pub(crate) fn client_config(endpoint: &KafkaEndpoint, client_id: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &endpoint.bootstrap)
        .set("security.protocol", "SASL_PLAINTEXT")
        .set("sasl.mechanisms", "SCRAM-SHA-512")
        .set("sasl.username", &endpoint.username)
        .set("sasl.password", endpoint.password.expose())
        .set("client.id", client_id)
        .set("allow.auto.create.topics", "false")
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "2000")
        .set("socket.keepalive.enable", "true")
        // A broker on loopback or in the same rack: waiting for more bytes only adds latency.
        .set("socket.nagle.disable", "true");
    config
}
