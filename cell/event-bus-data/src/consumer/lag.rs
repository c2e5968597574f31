//! How far a group is behind, asked on a connection of its own: a reader's connection is busy
//! waiting for records.

use std::collections::BTreeMap;
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
        let all = self.standing().await?;
        Ok(all.values().map(|partition| (partition.high - partition.next).max(0)).sum())
    }

    /// The next offset of every partition.
    pub async fn ends(&self) -> Result<BTreeMap<i32, i64>, BusError> {
        let all = self.standing().await?;
        Ok(all.into_iter().map(|(partition, Standing { high, .. })| (partition, high)).collect())
    }

    /// Whether the group has committed everything before `ends`.
    pub async fn has_passed(&self, ends: &BTreeMap<i32, i64>) -> Result<bool, BusError> {
        let all = self.standing().await?;
        Ok(ends.iter().all(|(partition, end)| all.get(partition).is_some_and(|now| now.next >= *end)))
    }

    /// By partition.
    async fn standing(&self) -> Result<BTreeMap<i32, Standing>, BusError> {
        let (client, topic) = (Arc::clone(&self.client), self.topic);
        match tokio::task::spawn_blocking(move || standing(&client, topic)).await {
            Ok(all) => all.map_err(|e| BusError::of(topic, e)),
            Err(_) => Err(BusError::Unavailable(KafkaError::Canceled)),
        }
    }
}

/// Of one partition: the group's next offset, and the next one to be written.
struct Standing {
    next: i64,
    high: i64,
}

fn standing(client: &BaseConsumer, topic: &str) -> Result<BTreeMap<i32, Standing>, KafkaError> {
    let mut asked = TopicPartitionList::new();
    for partition in partitions(client, topic, ASK_DEADLINE)? {
        asked.add_partition(topic, partition);
    }
    let mut all = BTreeMap::new();
    for element in client.committed_offsets(asked, ASK_DEADLINE)?.elements() {
        let (low, high) = client.fetch_watermarks(topic, element.partition(), ASK_DEADLINE)?;
        // Nothing committed, or records already deleted by retention: from the first one kept.
        let next = element.offset().to_raw().filter(|o| *o >= low).unwrap_or(low);
        all.insert(element.partition(), Standing { next, high });
    }
    Ok(all)
}
