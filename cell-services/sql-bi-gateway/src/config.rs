//! What an operator may change; the defaults suit a laptop.

use std::num::NonZeroU32;

use kit::config::{self, SettingsError};
use query_engine::Limits;
use serde::Deserialize;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Statements of one tenant that are bound, or whose rows are read, at the same time.
    pub tenant_statements: usize,
    /// Calls of one tenant per second, over time.
    pub tenant_rate: NonZeroU32,
    /// Calls of one tenant at once.
    pub tenant_burst: NonZeroU32,
    /// Finished statements that may wait to be recorded.
    pub backlog: usize,
    /// Days a statement stays in the history.
    pub history_days: u32,
    pub limits: Limits,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            tenant_statements: 16,
            tenant_rate: NonZeroU32::MIN.saturating_add(1_999),
            tenant_burst: NonZeroU32::MIN.saturating_add(3_999),
            backlog: 10_000,
            history_days: 30,
            // What runs here reads no table.
            limits: Limits {
                statement_memory: 64 << 20,
                tenant_memory: 96 << 20,
                total_memory: 128 << 20,
                partitions: 1,
                ..Limits::default()
            },
        }
    }
}

impl config::Settings for Settings {
    fn validate(&self) -> Result<(), SettingsError> {
        config::positive(&[
            ("tenant_statements", self.tenant_statements as u64),
            ("backlog", self.backlog as u64),
            ("history_days", u64::from(self.history_days)),
        ])?;
        self.limits.validate()
    }
}
