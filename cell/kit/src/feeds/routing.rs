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
    /// Lines of the feed were missed.
    gap: bool,
    /// Version of the snapshot on disk; it is written when the feed falls quiet.
    stored: u64,
}

impl Routing {
    pub(super) fn load(dir: &Path, global: PeerHttp, admission: &Arc<Admission>) -> Result<Self, SnapshotError> {
        let snapshot = Snapshot::new(dir, "routing.json")?;
        let table: Table = snapshot.load(|table: &Table| table.validate().is_ok()).unwrap_or_default();
        admission.placements.set(&table);
        let stored = table.version;
        Ok(Self { global, snapshot, admission: Arc::clone(admission), table, gap: false, stored })
    }

    fn apply(&mut self, line: FeedLine) -> Result<(), FeedError> {
        let (before, whole) = (self.table.version, matches!(line, FeedLine::Snapshot { .. }));
        let stepped = step(&mut self.table, line);
        // A change that does not fit means that lines are missing: a whole table mends that.
        self.gap = stepped.is_err() && !whole;
        stepped?;
        if self.table.version != before {
            self.admission.placements.set(&self.table);
        }
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

/// Applies one line: the table moves on, or stays as it was.
fn step(table: &mut Table, line: FeedLine) -> Result<(), FeedError> {
    match line {
        FeedLine::Snapshot { table: offered } => {
            offered.validate()?;
            table.may_become(&offered)?;
            *table = offered;
        }
        FeedLine::Delta { version, change } => table.apply(version, &change)?,
        FeedLine::Heartbeat { version } if version == table.version => {}
        FeedLine::Heartbeat { .. } => return Err("the feed skipped a change".into()),
    }
    Ok(())
}

impl Feed for Routing {
    async fn follow(&mut self) -> Result<(), FeedError> {
        // Without a table a whole one is asked for; with one, what came after it.
        let path = match self.table.version {
            version if version > 0 && !self.gap => format!("/internal/v1/routing?since={version}"),
            _ => "/internal/v1/routing".to_owned(),
        };
        let response = self.global.plain(Method::GET, &path).send().await?.error_for_status()?;
        let mut lines = Lines::new(response);
        while let Some(line) = lines.next().await? {
            if line.is_empty() {
                continue;
            }
            if let Err(error) = self.apply(serde_json::from_slice(&line)?) {
                tracing::warn!(%error, "routing change refused; the last good table serves");
                return Err(error);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contracts::routing::{CellEndpoint, Change, Route};
    use contracts::{CellId, Generation, TenantId, TierId};

    fn table() -> Table {
        let (cell, tenant) = (CellId::new("shared-1").unwrap(), TenantId::new("acme").unwrap());
        let endpoint = CellEndpoint { cell: cell.clone(), http: String::new(), flight: String::new() };
        let route = Route {
            tenant,
            cell,
            generation: Generation(5),
            hosts: vec!["acme.localhost".into()],
            tier: TierId::default(),
        };
        let mut table = Table::default();
        table.apply(1, &Change::CellUpserted { endpoint }).unwrap();
        table.apply(2, &Change::TenantPlaced { route }).unwrap();
        table
    }

    #[test]
    fn a_table_that_is_older_or_has_lost_its_tenants_leaves_the_last_good_one_in_place() {
        let mut held = table();
        let emptied = Table { version: 9, routes: Default::default(), ..table() };
        for table in [Table::default(), emptied, Table { version: 1, ..table() }] {
            assert!(step(&mut held, FeedLine::Snapshot { table }).is_err());
            assert_eq!(held, self::table());
        }
        assert!(step(&mut held, FeedLine::Heartbeat { version: 3 }).is_err());
        step(&mut held, FeedLine::Snapshot { table: Table { version: 9, ..table() } }).unwrap();
        assert_eq!(held.version, 9);
    }
}
