//! What one statement and one process may use.

use std::path::PathBuf;
use std::time::Duration;

use kit::config::{SettingsError, positive};
use serde::Deserialize;

/// Limits of an engine. Sizes in bytes. Nothing here cuts a result short: a statement that reaches
/// a limit fails and says so.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Memory of one statement's operators; sorts, joins and aggregates spill before they reach it.
    pub statement_memory: usize,
    /// Memory of one tenant's statements together: less than all, so that others are never left without.
    pub tenant_memory: usize,
    /// Memory of all statements together.
    pub total_memory: usize,
    /// Spill files of all statements together.
    pub spill: u64,
    /// Folder of spill files, emptied when the engine starts; the system's temporary folder when
    /// absent.
    pub spill_folder: Option<PathBuf>,
    pub statement_seconds: u64,
    /// Length of a statement's text.
    pub statement_text: usize,
    /// Encoded size of bound parameters: they travel inside a ticket.
    pub parameters: usize,
    /// Threads' worth of partitions per statement; the machine's cores when 0.
    pub partitions: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            statement_memory: 384 << 20,
            tenant_memory: 512 << 20,
            total_memory: 768 << 20,
            spill: 8 << 30,
            spill_folder: None,
            statement_seconds: 300,
            statement_text: 1 << 20,
            parameters: 1 << 20,
            partitions: 0,
        }
    }
}

impl Limits {
    /// Refuses limits under which no statement could run.
    pub fn validate(&self) -> Result<(), SettingsError> {
        positive(&[
            ("limits.statement_memory", self.statement_memory as u64),
            ("limits.tenant_memory", self.tenant_memory as u64),
            ("limits.total_memory", self.total_memory as u64),
            ("limits.statement_text", self.statement_text as u64),
            ("limits.statement_seconds", self.statement_seconds),
        ])
    }

    pub fn statement_time(&self) -> Duration {
        Duration::from_secs(self.statement_seconds)
    }

    pub fn target_partitions(&self) -> usize {
        match self.partitions {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            n => n,
        }
    }
}
