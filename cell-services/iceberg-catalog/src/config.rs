//! The service's settings; every default works on a laptop.

use kit::config::{self, SettingsError};
use serde::Deserialize;

const A_DAY: u32 = 24 * 60 * 60;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Address of the bucket as clients outside the cell reach it; the cell's own when absent.
    pub public_bucket_endpoint: Option<String>,
    /// Bytes of table metadata kept parsed in memory.
    pub metadata_cache_bytes: u64,
    /// Bytes of one table's metadata.
    pub max_metadata_bytes: u64,
    /// Bytes of one request.
    pub max_body_bytes: usize,
    pub max_namespaces_per_tenant: u32,
    pub max_tables_per_tenant: u32,
    /// Tables of one `transactions/commit`.
    pub max_tables_per_commit: usize,
    /// Hours an Idempotency-Key is remembered.
    pub idempotency_hours: u32,
    /// Files that no table knows are deleted when nobody has changed them for so many seconds; longer than any
    /// writer takes from its first file to its commit.
    pub orphan_age_seconds: u32,
    /// From a start until such files are looked for, in seconds.
    pub orphan_first_look_seconds: u32,
    /// Pause between two looks, in seconds.
    pub orphan_pause_seconds: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            public_bucket_endpoint: None,
            metadata_cache_bytes: 64 * 1024 * 1024,
            max_metadata_bytes: 128 * 1024 * 1024,
            max_body_bytes: 16 * 1024 * 1024,
            max_namespaces_per_tenant: 1_000,
            max_tables_per_tenant: 20_000,
            max_tables_per_commit: 200,
            idempotency_hours: 24,
            orphan_age_seconds: 3 * A_DAY,
            orphan_first_look_seconds: 10 * 60,
            orphan_pause_seconds: A_DAY,
        }
    }
}

/// Below this ordinary tables could not be created.
const LEAST_BODY_BYTES: usize = 64 * 1024;

impl config::Settings for Settings {
    fn validate(&self) -> Result<(), SettingsError> {
        if self.max_body_bytes < LEAST_BODY_BYTES {
            return Err(SettingsError { name: "max_body_bytes", reason: "it has to be at least 64 KiB" });
        }
        config::positive(&[
            ("max_tables_per_commit", self.max_tables_per_commit as u64),
            ("idempotency_hours", u64::from(self.idempotency_hours)),
            ("orphan_age_seconds", u64::from(self.orphan_age_seconds)),
            ("orphan_first_look_seconds", u64::from(self.orphan_first_look_seconds)),
            ("orphan_pause_seconds", u64::from(self.orphan_pause_seconds)),
        ])
    }
}
