//! The routing table, for the cell's own fence.

use std::path::Path;
use std::sync::Arc;

use contracts::routing::{FeedLine, Table};
use http::Method;

use super::lines::Lines;
use super::{Feed, FeedError, Snapshot, SnapshotError};
use crate::admission::Admission;
use crate::peers::PeerHttp;

pub(super) struct Routing {
    global: PeerHttp,
    snapshot: Snapshot,
    admission: Arc<Admission>,
    table: Table,
    /// Version of the snapshot on disk; it is written when the feed falls quiet.
    stored: u64,
}

impl Routing {
    pub(super) fn load(dir: &Path, global: PeerHttp, admission: &Arc<Admission>) -> Result<Self, SnapshotError> {
        let snapshot = Snapshot::new(dir, "routing.json")?;
        let table: Table = snapshot.load().filter(|t: &Table| t.validate().is_ok()).unwrap_or_default();
        admission.placements.set(&table);
        let stored = table.version;
        Ok(Self { global, snapshot, admission: Arc::clone(admission), table, stored })
    }

    fn apply(&mut self, line: FeedLine) -> Result<(), FeedError> {
        match line {
            FeedLine::Snapshot { table } => {
                table.validate()?;
                self.table = table;
            }
            FeedLine::Delta { version, change } => self.table.apply(version, &change)?,
            FeedLine::Heartbeat { version } if version == self.table.version => return self.store(),
            FeedLine::Heartbeat { .. } => return Err("the feed skipped a change".into()),
        }
        self.admission.placements.set(&self.table);
        self.store()
    }

    fn store(&mut self) -> Result<(), FeedError> {
        if self.stored != self.table.version {
            self.snapshot.store(&self.table)?;
            self.stored = self.table.version;
        }
        Ok(())
    }
}

impl Feed for Routing {
    async fn follow(&mut self) -> Result<(), FeedError> {
        // Without a table a snapshot is asked for; with one, what came after it.
        let path = match self.table.version {
            0 => "/internal/v1/routing".to_owned(),
            version => format!("/internal/v1/routing?since={version}"),
        };
        let response = self.global.plain(Method::GET, &path).send().await?.error_for_status()?;
        let mut lines = Lines::new(response);
        while let Some(line) = lines.next().await? {
            if line.is_empty() {
                continue;
            }
            if let Err(error) = self.apply(serde_json::from_slice(&line)?) {
                // Ask for a whole snapshot next time; until then the last good table serves.
                tracing::warn!(%error, "routing change refused");
                self.table.version = 0;
                return Err(error);
            }
        }
        Ok(())
    }
}
