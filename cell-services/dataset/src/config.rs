//! What an operator may change; the defaults suit a laptop.

use kit::config::{self, SettingsError};
use kit::turns::Places;
use serde::Deserialize;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Longest file, in bytes.
    pub upload_bytes: u64,
    /// Most files in one transaction.
    pub transaction_files: usize,
    /// Bytes of a file that are read to infer its columns.
    pub sample_bytes: u64,
    pub columns: usize,
    /// Longest NDJSON row, in bytes.
    pub row_bytes: usize,
    /// Largest row group of an uploaded Parquet file, in bytes as stored: it is read as a whole.
    pub row_group_bytes: i64,
    /// Files converted at a time; each takes the memory of one Parquet row group.
    pub conversions: usize,
    /// Of one tenant: less than all, so that no tenant holds up the others alone.
    pub tenant_conversions: usize,
    /// Conversions of one tenant that may wait for their turn.
    pub tenant_line: usize,
    /// Seconds a caller waits for its turn to convert.
    pub conversion_wait_seconds: u64,
    /// Hours after which a transaction that nobody ended is aborted.
    pub open_hours: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            upload_bytes: 5 << 30,
            transaction_files: 1_000,
            sample_bytes: 4 << 20,
            columns: 1_000,
            row_bytes: 4 << 20,
            row_group_bytes: 256 << 20,
            conversions: 2,
            tenant_conversions: 1,
            tenant_line: 32,
            conversion_wait_seconds: 60,
            open_hours: 24,
        }
    }
}

impl Settings {
    pub fn places(&self) -> Places {
        Places { all: self.conversions, tenant: self.tenant_conversions, line: self.tenant_line }
    }
}

impl config::Settings for Settings {
    fn validate(&self) -> Result<(), SettingsError> {
        config::positive(&[
            ("upload_bytes", self.upload_bytes),
            ("transaction_files", self.transaction_files as u64),
            ("sample_bytes", self.sample_bytes),
            ("columns", self.columns as u64),
            ("row_bytes", self.row_bytes as u64),
            ("row_group_bytes", self.row_group_bytes.unsigned_abs()),
            ("conversions", self.conversions as u64),
            ("tenant_conversions", self.tenant_conversions as u64),
            ("tenant_line", self.tenant_line as u64),
            ("open_hours", u64::from(self.open_hours)),
        ])
    }
}
