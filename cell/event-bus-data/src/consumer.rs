//! Consuming: read committed records, commit only what the caller says is done.

mod group;
mod lag;
mod record;
mod tail;

pub use group::{Assignment, DataConsumer};
pub use lag::LagMeter;
pub use record::{Position, RecordView};
pub use tail::{TailReader, TailStart};

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{Consumer, ConsumerContext};
use rdkafka::error::KafkaError;

/// What every reader has in common, member of a group or not.
fn reader_config(base: &ClientConfig, group: &str) -> ClientConfig {
    let mut config = base.clone();
    config
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "false")
        // Bounds of what is fetched ahead of the caller.
        .set("queued.max.messages.kbytes", "32768")
        .set("queued.min.messages", "50000")
        .set("fetch.message.max.bytes", "4194304")
        .set("fetch.wait.max.ms", "100")
        .set("fetch.error.backoff.ms", "100");
    config
}

/// The partitions of a topic. A broker that says nothing of a topic, because it does not know it or
/// does not show it to this principal, answers all the same: that is an error, never an empty topic.
fn partitions<C: ConsumerContext>(
    client: &impl Consumer<C>,
    topic: &str,
    deadline: Duration,
) -> Result<Vec<i32>, KafkaError> {
    let metadata = client.fetch_metadata(Some(topic), deadline)?;
    let mut partitions = Vec::new();
    for about in metadata.topics() {
        if let Some(refused) = about.error() {
            return Err(KafkaError::MetadataFetch(refused.into()));
        }
        partitions.extend(about.partitions().iter().map(|p| p.id()));
    }
    Ok(partitions)
}
