//! `demo.json`: what was sent, committed and read back, and how long each stage took.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Serialize;

/// One tenant's numbers. Rows are counted by three different parties: the client that sent them,
/// the service that committed them, and the SQL edge that read them back.
#[derive(Debug, Clone, Serialize)]
pub struct TenantReport {
    pub cell: String,
    pub generation: u64,
    pub path: &'static str,
    pub rows_sent: u64,
    pub rows_committed: u64,
    pub rows_read_back: u64,
    /// Seconds by stage.
    pub seconds: BTreeMap<&'static str, f64>,
}

#[derive(Debug, Serialize)]
pub struct Report {
    pub ok: bool,
    pub input: &'static str,
    #[serde(with = "time::serde::rfc3339")]
    pub finished_at: time::OffsetDateTime,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    pub seconds: f64,
    pub tenants: BTreeMap<String, TenantReport>,
}

impl Report {
    /// Replaces the file in one step: a reader sees the old report or the new one.
    pub fn write(&self, state: &Path) -> anyhow::Result<PathBuf> {
        let path = state.join("demo.json");
        let draft = state.join("demo.json.draft");
        std::fs::create_dir_all(state)?;
        std::fs::write(&draft, serde_json::to_vec_pretty(self)?)?;
        std::fs::rename(&draft, &path).with_context(|| format!("{} cannot be written", path.display()))?;
        Ok(path)
    }
}
