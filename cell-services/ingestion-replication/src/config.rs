//! `[services.ingestion-replication]`.

use kit::config::{self, SettingsError};
use serde::Deserialize;

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// A commit is due when the oldest uncommitted row is this old. With the time a commit takes
    /// it bounds how stale a table is.
    pub commit_millis: u64,
    pub commit_rows: usize,
    /// So many rows are worth a commit of their own once no more come.
    pub quiet_rows: usize,
    /// Bytes of rows, before decoding.
    pub commit_bytes: usize,
    /// Tables committed at the same time.
    pub commits_at_once: usize,
    /// Tries on one table before its rows of the round go to the dead letters; only faults of the
    /// table itself count, never a catalog or store that is away.
    pub attempts: u32,
    /// At most one lineage event per stream in this time.
    pub lineage_seconds: u32,
    /// Progress on the topic of this id is given up and the topic's successor read from its start:
    /// an operator's decision after a topic was made anew.
    pub forsaken_topic_id: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            commit_millis: 2_000,
            commit_rows: 200_000,
            quiet_rows: 10_000,
            commit_bytes: 64 << 20,
            commits_at_once: 4,
            attempts: 5,
            lineage_seconds: 60,
            forsaken_topic_id: None,
        }
    }
}

impl config::Settings for Settings {
    fn validate(&self) -> Result<(), SettingsError> {
        config::positive(&[
            ("commit_millis", self.commit_millis),
            ("commit_rows", self.commit_rows as u64),
            ("quiet_rows", self.quiet_rows as u64),
            ("commit_bytes", self.commit_bytes as u64),
            ("commits_at_once", self.commits_at_once as u64),
            ("attempts", u64::from(self.attempts)),
        ])
    }
}
