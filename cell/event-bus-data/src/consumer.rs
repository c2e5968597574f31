//! Consuming: read committed records, commit only what the caller says is done.

mod group;
mod lag;
mod record;
mod tail;

pub use group::{Assignment, DataConsumer};
pub use lag::LagMeter;
pub use record::{Position, RecordView};
pub use tail::{TailReader, TailStart};

use rdkafka::ClientConfig;

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
