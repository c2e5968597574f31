//! What an operator may change; the defaults suit a laptop.

use std::time::Duration;

use query_engine::Limits;
use serde::Deserialize;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Statements running at the same time.
    pub statements: usize,
    /// Seconds a statement waits for its turn before it is refused.
    pub wait_seconds: u64,
    pub limits: Limits,
}

impl Default for Settings {
    fn default() -> Self {
        Self { statements: 16, wait_seconds: 10, limits: Limits::default() }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("setting {0} has to be greater than zero")]
pub struct SettingsError(&'static str);

impl Settings {
    pub fn validate(&self) -> Result<(), SettingsError> {
        let positive = [
            ("statements", self.statements),
            ("limits.statement_memory", self.limits.statement_memory),
            ("limits.total_memory", self.limits.total_memory),
            ("limits.statement_text", self.limits.statement_text),
            ("limits.statement_seconds", usize::try_from(self.limits.statement_seconds).unwrap_or(usize::MAX)),
        ];
        positive.iter().find(|(_, value)| *value == 0).map_or(Ok(()), |(name, _)| Err(SettingsError(name)))
    }

    pub fn wait(&self) -> Duration {
        Duration::from_secs(self.wait_seconds)
    }
}
