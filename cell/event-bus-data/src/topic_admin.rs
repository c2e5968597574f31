//! Topics as the broker has them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use contracts::events::Cleanup;
use contracts::kafka::Topic;
use rdkafka::ClientConfig;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, ConfigResource, NewPartitions, NewTopic, OwnedResourceSpecifier,
    ResourceSpecifier, TopicReplication,
};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;

use crate::BusError;
use crate::producer::log_line;

const DEADLINE: Duration = Duration::from_secs(30);

const RETENTION: &str = "retention.ms";
const CLEANUP: &str = "cleanup.policy";

pub(crate) struct Administration {
    client: AdminClient<Quiet>,
}

/// A topic's declared settings, or what the broker says instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicState {
    pub partitions: i32,
    pub retention_ms: Option<i64>,
    pub cleanup: Option<String>,
}

pub(crate) fn cleanup_name(cleanup: Cleanup) -> &'static str {
    match cleanup {
        Cleanup::Delete => "delete",
        Cleanup::Compact => "compact",
    }
}

impl Administration {
    pub fn connect(config: &ClientConfig) -> Result<Self, BusError> {
        Ok(Self { client: config.create_with_context(Quiet).map_err(BusError::Client)? })
    }

    /// All topics but the broker's own, with the settings we declare.
    pub async fn topics(&self) -> Result<BTreeMap<String, TopicState>, BusError> {
        let metadata =
            (self.client.inner()).fetch_metadata(None, DEADLINE).map_err(|e| BusError::of("the list of topics", e))?;
        let mut topics: BTreeMap<String, TopicState> = (metadata.topics().iter())
            // `__consumer_offsets` and its like are the broker's; `__dlq.` topics are ours.
            .filter(|t| !t.name().starts_with("__") || t.name().starts_with("__dlq."))
            .map(|t| {
                let partitions = i32::try_from(t.partitions().len()).unwrap_or(i32::MAX);
                (t.name().to_owned(), TopicState { partitions, retention_ms: None, cleanup: None })
            })
            .collect();
        let names: Vec<String> = topics.keys().cloned().collect();
        let wanted: Vec<ResourceSpecifier<'_>> = names.iter().map(|n| ResourceSpecifier::Topic(n)).collect();
        if wanted.is_empty() {
            return Ok(topics);
        }
        let described =
            (self.client.describe_configs(&wanted, &asking()).await).map_err(|e| BusError::of("topic settings", e))?;
        for resource in described {
            let resource = resource.map_err(|code| BusError::Administration {
                what: "topic settings".to_owned(),
                detail: code.to_string(),
            })?;
            if let OwnedResourceSpecifier::Topic(name) = &resource.specifier
                && let Some(state) = topics.get_mut(name)
            {
                state.retention_ms = setting(&resource, RETENTION).and_then(|v| v.parse().ok());
                state.cleanup = setting(&resource, CLEANUP);
            }
        }
        Ok(topics)
    }

    pub async fn create(&self, topic: &Topic, replicas: i32) -> Result<(), BusError> {
        let retention = topic.retention_ms.to_string();
        let new = NewTopic::new(&topic.name, topic.partitions, TopicReplication::Fixed(replicas))
            .set(RETENTION, &retention)
            .set(CLEANUP, cleanup_name(topic.cleanup));
        let answers = self.client.create_topics([&new], &spreading()).await;
        first_refusal(&format!("topic {}", topic.name), answers)
    }

    /// Kafka only ever adds partitions.
    pub async fn grow(&self, topic: &Topic) -> Result<(), BusError> {
        let count = usize::try_from(topic.partitions).unwrap_or(0);
        let answers = self.client.create_partitions([&NewPartitions::new(&topic.name, count)], &spreading()).await;
        first_refusal(&format!("partitions of {}", topic.name), answers)
    }

    /// Sets the declared settings; any other override on the topic is dropped, for it is not declared.
    pub async fn configure(&self, topic: &Topic) -> Result<(), BusError> {
        let retention = topic.retention_ms.to_string();
        let change = AlterConfig::new(ResourceSpecifier::Topic(&topic.name))
            .set(RETENTION, &retention)
            .set(CLEANUP, cleanup_name(topic.cleanup));
        let answers = (self.client.alter_configs([&change], &asking()).await).map(|all| {
            all.into_iter().map(|one| one.map(|_| String::new()).map_err(|(_, code)| (String::new(), code))).collect()
        });
        first_refusal(&format!("settings of {}", topic.name), answers)
    }

    /// Brokers of the cluster.
    pub fn broker_count(&self) -> Result<usize, BusError> {
        (self.client.inner().fetch_metadata(None, DEADLINE))
            .map(|m| m.brokers().len())
            .map_err(|e| BusError::of("the list of brokers", e))
    }

    pub fn native(&self) -> &AdminClient<Quiet> {
        &self.client
    }
}

fn asking() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(DEADLINE))
}

/// For what the controller has to spread to its brokers; the other operations refuse this option.
fn spreading() -> AdminOptions {
    asking().operation_timeout(Some(DEADLINE))
}

fn setting(resource: &ConfigResource, name: &str) -> Option<String> {
    resource.get(name).and_then(|entry| entry.value.clone())
}

fn first_refusal(what: &str, answers: Result<Vec<rdkafka::admin::TopicResult>, KafkaError>) -> Result<(), BusError> {
    for answer in answers.map_err(|e| BusError::of(what, e))? {
        if let Err((_, code)) = answer {
            return Err(BusError::Administration { what: what.to_owned(), detail: code.to_string() });
        }
    }
    Ok(())
}

/// The id the broker gave a topic when it was made; a topic made anew has another one. Asked on one
/// connection, so that it may be asked often.
pub struct TopicIdentity {
    administration: Arc<Administration>,
    topic: &'static str,
}

impl TopicIdentity {
    pub(crate) fn new(config: &ClientConfig, topic: &'static str) -> Result<Self, BusError> {
        Ok(Self { administration: Arc::new(Administration::connect(config)?), topic })
    }

    pub async fn ask(&self) -> Result<String, BusError> {
        let (administration, topic) = (Arc::clone(&self.administration), self.topic);
        let asked = tokio::task::spawn_blocking(move || crate::acl::topic_id(administration.native().inner(), topic));
        asked.await.unwrap_or(Err(BusError::Unavailable(KafkaError::Canceled)))
    }
}

pub(crate) struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }
}
