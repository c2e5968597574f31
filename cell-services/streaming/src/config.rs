//! `[services.streaming]`.

use kit::config::{self, SettingsError};
use serde::Deserialize;

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Keys a stream's rows are spread over: the most partitions one stream can use.
    pub shards: u32,
    /// Rows that follow each other with the same key.
    pub rows_per_shard: u32,
    /// A body that brings nothing for this long is given up.
    pub body_idle_seconds: u64,
    /// Row errors told in an answer; all are counted.
    pub errors_told: usize,
    /// Live tails a tenant may have open, and the process in all.
    pub tails_per_tenant: usize,
    pub tails: usize,
    /// How long the outcome of a batch with an Idempotency-Key is kept.
    pub batch_memory_hours: u32,
    /// At most one lineage event per stream in this time.
    pub lineage_seconds: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            shards: 12,
            rows_per_shard: 256,
            body_idle_seconds: 30,
            errors_told: 100,
            tails_per_tenant: 4,
            tails: 32,
            batch_memory_hours: 24,
            lineage_seconds: 60,
        }
    }
}

impl config::Settings for Settings {
    fn validate(&self) -> Result<(), SettingsError> {
        config::positive(&[
            ("shards", u64::from(self.shards)),
            ("rows_per_shard", u64::from(self.rows_per_shard)),
            ("body_idle_seconds", self.body_idle_seconds),
            ("tails_per_tenant", self.tails_per_tenant as u64),
            ("tails", self.tails as u64),
            ("batch_memory_hours", u64::from(self.batch_memory_hours)),
        ])
    }
}
