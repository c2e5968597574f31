//! The service's settings; every default works on a laptop.

use kit::service::StartError;
use serde::Deserialize;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Address of the bucket as clients outside the cell reach it; the cell's own when absent.
    pub public_bucket_endpoint: Option<String>,
    /// Bytes of table metadata kept parsed in memory.
    pub metadata_cache_bytes: u64,
    /// Bytes of one request.
    pub max_body_bytes: usize,
    pub max_namespaces_per_tenant: u32,
    pub max_tables_per_tenant: u32,
    /// Tables of one `transactions/commit`.
    pub max_tables_per_commit: usize,
    /// Hours an Idempotency-Key is remembered.
    pub idempotency_hours: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            public_bucket_endpoint: None,
            metadata_cache_bytes: 64 * 1024 * 1024,
            max_body_bytes: 16 * 1024 * 1024,
            max_namespaces_per_tenant: 1_000,
            max_tables_per_tenant: 20_000,
            max_tables_per_commit: 200,
            idempotency_hours: 24,
        }
    }
}

impl Settings {
    pub fn validate(self) -> Result<Self, StartError> {
        if self.max_tables_per_commit == 0 || self.max_body_bytes < 64 * 1024 || self.idempotency_hours == 0 {
            return Err(StartError::plain(
                "iceberg-catalog: max_tables_per_commit and idempotency_hours are at least 1, max_body_bytes at least 64 KiB",
            ));
        }
        Ok(self)
    }
}
