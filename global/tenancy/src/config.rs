//! Settings with defaults that work on a laptop.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// A tenant's own host is `<tenant>.<host_suffix>`.
    pub host_suffix: String,
    /// Hosts a tenant may have besides its own.
    pub max_custom_hosts: usize,
    /// Readers of the routing feed at the same time.
    pub max_feed_readers: usize,
    /// Moves of tenants that are led at the same time; the others wait.
    pub moves_at_once: usize,
    /// Pause before a step of a move is tried again, milliseconds.
    pub move_retry_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            host_suffix: "localhost".to_owned(),
            max_custom_hosts: 20,
            max_feed_readers: 1000,
            moves_at_once: 4,
            move_retry_ms: 500,
        }
    }
}

impl Settings {
    /// Says what is wrong, in words for the operator.
    pub fn validate(&self) -> Result<(), String> {
        if crate::domain::host::normalise(&format!("x.{}", self.host_suffix)).is_none() {
            return Err("host_suffix must be a lower-case DNS name".to_owned());
        }
        if self.max_feed_readers == 0 || self.moves_at_once == 0 {
            return Err("max_feed_readers and moves_at_once must be above 0".to_owned());
        }
        Ok(())
    }
}
