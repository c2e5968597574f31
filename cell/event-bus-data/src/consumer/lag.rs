//! How far a group is behind, asked on a connection of its own: a reader's connection is busy
//! waiting for records.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{ClientConfig, TopicPartitionList};

use super::{partitions, reader_config};
use crate::BusError;

const ASK_DEADLINE: Duration = Duration::from_secs(10);

pub struct LagMeter {
    client: Arc<BaseConsumer>,
    topic: &'static str,
}

impl LagMeter {
    pub(crate) fn new(base: &ClientConfig, topic: &'static str, group: &str) -> Result<Self, BusError> {
        let client: BaseConsumer = reader_config(base, group).create().map_err(BusError::Client)?;
        Ok(Self { client: Arc::new(client), topic })
    }

    /// Records of the topic that the whole group has not committed yet.
    pub async fn lag(&self) -> Result<i64, BusError> {
        let (client, topic) = (Arc::clone(&self.client), self.topic);
        match tokio::task::spawn_blocking(move || measure(&client, topic)).await {
            Ok(lag) => lag.map_err(|e| BusError::of(topic, e)),
            Err(_) => Err(BusError::Unavailable(KafkaError::Canceled)),
        }
    }
}

fn measure(client: &BaseConsumer, topic: &str) -> Result<i64, KafkaError> {
    let mut asked = TopicPartitionList::new();
    for partition in partitions(client, topic, ASK_DEADLINE)? {
        asked.add_partition(topic, partition);
    }
    let mut lag = 0;
    for element in client.committed_offsets(asked, ASK_DEADLINE)?.elements() {
        let (low, high) = client.fetch_watermarks(topic, element.partition(), ASK_DEADLINE)?;
        // Nothing committed, or records already deleted by retention: from the first one kept.
        let next = element.offset().to_raw().filter(|o| *o >= low).unwrap_or(low);
        lag += (high - next).max(0);
    }
    Ok(lag)
}
