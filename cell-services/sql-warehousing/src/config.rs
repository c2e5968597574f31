//! What an operator may change; the defaults suit a laptop.

use std::time::Duration;

use kit::config::{self, SettingsError};
use kit::turns::Places;
use query_engine::Limits;
use serde::Deserialize;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Statements running at the same time.
    pub statements: usize,
    /// Of one tenant: less than all, so that no tenant fills the pool alone.
    pub tenant_statements: usize,
    /// Statements of one tenant that may wait for their turn.
    pub tenant_line: usize,
    /// Seconds a statement waits for its turn before it is refused.
    pub wait_seconds: u64,
    /// Bytes of tables' data files kept in memory between statements.
    pub kept_bytes: u64,
    pub limits: Limits,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            statements: 16,
            tenant_statements: 8,
            tenant_line: 64,
            wait_seconds: 10,
            kept_bytes: 128 << 20,
            limits: Limits::default(),
        }
    }
}

impl config::Settings for Settings {
    fn validate(&self) -> Result<(), SettingsError> {
        config::positive(&[
            ("statements", self.statements as u64),
            ("tenant_statements", self.tenant_statements as u64),
            ("tenant_line", self.tenant_line as u64),
        ])?;
        self.limits.validate()
    }
}

impl Settings {
    pub fn places(&self) -> Places {
        Places { all: self.statements, tenant: self.tenant_statements, line: self.tenant_line }
    }

    pub fn wait(&self) -> Duration {
        Duration::from_secs(self.wait_seconds)
    }
}
