//! How far a group is behind, asked on a connection of its own: a reader's connection is busy
//! waiting for records.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{ClientConfig, TopicPartitionList};

use super::{partitions, reader_config};
use crate::BusError;

const LOOK_EVERY: Duration = Duration::from_millis(20);
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

    /// Partitions of which the group has not committed all records, and where they end.
    pub async fn open(&self) -> Result<BTreeMap<i32, i64>, BusError> {
        let mut all = self.standing().await?;
        all.retain(|_, partition| partition.next < partition.high);
        Ok(all.into_iter().map(|(partition, Standing { high, .. })| (partition, high)).collect())
    }

    /// Returns when the group has committed everything before `ends`.
    pub async fn passes(&self, ends: &BTreeMap<i32, i64>) -> Result<(), BusError> {
        while !self.has_passed(ends).await? {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    async fn has_passed(&self, ends: &BTreeMap<i32, i64>) -> Result<bool, BusError> {
        if ends.is_empty() {
            return Ok(true);
        }
        let partitions: Vec<i32> = ends.keys().copied().collect();
        let next = self.ask(move |client, topic| committed(client, topic, &partitions)).await?;
        Ok(ends.iter().all(|(partition, end)| next.get(partition).is_some_and(|next| next >= end)))
    }

    /// By partition. The ends are asked for side by side: one after the other they would take as many ways to the broker.
    async fn standing(&self) -> Result<BTreeMap<i32, Standing>, BusError> {
        let (all, committed) = self
            .ask(|client, topic| {
                let all = partitions(client, topic, ASK_DEADLINE)?;
                let committed = committed(client, topic, &all)?;
                Ok((all, committed))
            })
            .await?;
        let ends = all.iter().map(|partition| {
            let partition = *partition;
            self.ask(move |client, topic| client.fetch_watermarks(topic, partition, ASK_DEADLINE))
        });
        let ends = try_join_all(ends).await?;
        let of = |(partition, (low, high)): (i32, (i64, i64))| {
            // Nothing committed, or records already deleted by retention: from the first one kept.
            let next = committed.get(&partition).copied().filter(|next| *next >= low).unwrap_or(low);
            (partition, Standing { next, high })
        };
        Ok(all.into_iter().zip(ends).map(of).collect())
    }

    /// librdkafka's questions block: never on a runtime's worker.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&BaseConsumer, &str) -> Result<T, KafkaError> + Send + 'static,
    ) -> Result<T, BusError> {
        let (client, topic) = (Arc::clone(&self.client), self.topic);
        match tokio::task::spawn_blocking(move || question(&client, topic)).await {
            Ok(answer) => answer.map_err(|e| BusError::of(topic, e)),
            Err(_) => Err(BusError::Unavailable(KafkaError::Canceled)),
        }
    }
}

/// Of one partition: the group's next offset, and the next one to be written.
struct Standing {
    next: i64,
    high: i64,
}

/// The group's next offset of each partition that has one.
fn committed(client: &BaseConsumer, topic: &str, partitions: &[i32]) -> Result<BTreeMap<i32, i64>, KafkaError> {
    let mut asked = TopicPartitionList::new();
    for partition in partitions {
        asked.add_partition(topic, *partition);
    }
    let answered = client.committed_offsets(asked, ASK_DEADLINE)?;
    let of = |element: TopicPartitionListElem<'_>| Some((element.partition(), element.offset().to_raw()?));
    Ok(answered.elements().into_iter().filter_map(of).filter(|(_, next)| *next >= 0).collect())
}
