//! Which part of a table's metadata a client asked for.

use std::collections::HashSet;

use serde_json::Value;

use crate::error::{Error, Result};

/// Value of the `snapshots` parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Snapshots {
    #[default]
    All,
    /// Only snapshots a branch or tag points at.
    Refs,
}

impl Snapshots {
    pub fn parse(text: Option<&str>) -> Result<Self> {
        match text {
            None | Some("all") => Ok(Self::All),
            Some("refs") => Ok(Self::Refs),
            Some(_) => Err(Error::Invalid("snapshots is 'all' or 'refs'".to_owned())),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Refs => "refs",
        }
    }
}

/// Drops snapshots nothing refers to.
pub fn keep_referenced(metadata: &mut Value) {
    let mut kept: HashSet<i64> = HashSet::new();
    if let Some(refs) = metadata.get("refs").and_then(Value::as_object) {
        kept.extend(refs.values().filter_map(|reference| reference.get("snapshot-id")?.as_i64()));
    }
    kept.extend(metadata.get("current-snapshot-id").and_then(Value::as_i64));
    if let Some(snapshots) = metadata.get_mut("snapshots").and_then(Value::as_array_mut) {
        snapshots.retain(|snapshot| {
            snapshot.get("snapshot-id").and_then(Value::as_i64).is_some_and(|id| kept.contains(&id))
        });
    }
}
