//! Who lives in this cell, for its own fence.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use contracts::placements::PlacementLine;
use contracts::{Generation, TenantId};
use http::Method;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::lines::{Lines, answer};
use super::{Feed, FeedError, Snapshot, SnapshotError};
use crate::admission::Admission;
use crate::peers::PeerHttp;
use crate::placements::{Known, Placements};

/// Least time between two copies on disk: what a crash forgets is heard again.
const STORE_EVERY: Duration = Duration::from_secs(1);

pub(super) struct Feeding {
    global: PeerHttp,
    snapshot: Snapshot,
    heard: Heard,
    /// Version of the copy on disk.
    stored: u64,
    store_at: Instant,
}

/// What the lines have led to so far.
struct Heard {
    placements: Arc<Placements>,
    /// Of the log, up to which everything that concerns this cell is known; 0 = ask for everything anew.
    version: u64,
    /// The list that is coming in.
    listed: HashMap<TenantId, Generation>,
    /// Those of them that are leaving.
    leaving: HashMap<TenantId, Generation>,
    /// So many had left the cell, as the last list said.
    departed: u64,
}

/// The copy on disk.
#[derive(Serialize, Deserialize)]
struct Stored {
    version: u64,
    #[serde(default)]
    departed: u64,
    tenants: BTreeMap<TenantId, Known>,
}

impl Heard {
    /// Takes one line, or refuses it and everything after it.
    fn take(&mut self, line: PlacementLine) -> Result<(), FeedError> {
        let taken = self.step(line);
        if taken.is_err() {
            self.version = 0;
        }
        taken
    }

    fn step(&mut self, line: PlacementLine) -> Result<(), FeedError> {
        match line {
            PlacementLine::Tenants { version, tenants, leaving, departed, last } => {
                self.listed.extend(tenants);
                self.leaving.extend(leaving);
                if last {
                    let (listed, leaving) = (std::mem::take(&mut self.listed), std::mem::take(&mut self.leaving));
                    self.placements.replace(listed, &leaving, departed.saturating_sub(self.departed))?;
                    (self.version, self.departed) = (version, departed);
                }
            }
            PlacementLine::Changed { version, after, tenant, place } => {
                if after != self.version || version <= after {
                    return Err(format!("change {version} after {after} does not follow {}", self.version).into());
                }
                self.placements.change(tenant, place);
                self.version = version;
            }
            PlacementLine::Heartbeat { version } if version >= self.version => self.version = version,
            PlacementLine::Heartbeat { .. } => return Err("the log has become shorter".into()),
        }
        Ok(())
    }
}

impl Feeding {
    pub(super) fn load(dir: &Path, global: PeerHttp, admission: &Admission) -> Result<Self, SnapshotError> {
        let snapshot = Snapshot::new(dir, "placements.json")?;
        let placements = Arc::clone(&admission.placements);
        let held: Option<Stored> = snapshot.load(|_| true);
        let (version, departed) = held.as_ref().map_or((0, 0), |held| (held.version, held.departed));
        placements.restore(held.map(|held| held.tenants).unwrap_or_default());
        let heard = Heard { placements, version, listed: HashMap::new(), leaving: HashMap::new(), departed };
        Ok(Self { global, snapshot, heard, stored: version, store_at: Instant::now() })
    }

    /// A version that was given up is not kept: the copy on disk is one that was whole.
    fn is_stored(&self) -> bool {
        self.heard.version == 0 || self.heard.version == self.stored
    }

    async fn read(&mut self, mut lines: Lines) -> Result<(), FeedError> {
        loop {
            let next = if self.is_stored() {
                lines.next().await?
            } else {
                match tokio::time::timeout_at(self.store_at, lines.next()).await {
                    Ok(next) => next?,
                    Err(_) => {
                        self.store().await?;
                        continue;
                    }
                }
            };
            let Some(line) = next else { return Ok(()) };
            if line.is_empty() {
                continue;
            }
            if let Err(error) = self.heard.take(serde_json::from_slice(&line)?) {
                tracing::warn!(%error, "placements refused; what is known goes on");
                return Err(error);
            }
        }
    }

    async fn store(&mut self) -> Result<(), FeedError> {
        if self.is_stored() {
            return Ok(());
        }
        let (snapshot, version) = (self.snapshot.clone(), self.heard.version);
        let stored = Stored { version, departed: self.heard.departed, tenants: self.heard.placements.known() };
        tokio::task::spawn_blocking(move || snapshot.store(&stored)).await??;
        (self.stored, self.store_at) = (version, Instant::now() + STORE_EVERY);
        Ok(())
    }
}

impl Feed for Feeding {
    async fn follow(&mut self) -> Result<(), FeedError> {
        let mut path = format!("/internal/v1/cells/{}/placements", self.heard.placements.cell());
        if self.heard.version > 0 {
            path.push_str(&format!("?since={}", self.heard.version));
        }
        self.heard.listed.clear();
        self.heard.leaving.clear();
        let response = answer(self.global.plain(Method::GET, &path)).await?;
        let outcome = self.read(Lines::new(response)).await;
        self.store().await?;
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contracts::CellId;
    use contracts::placements::Place;

    fn heard() -> Heard {
        let placements = Placements::new(CellId::new("here").unwrap());
        Heard { placements, version: 0, listed: HashMap::new(), leaving: HashMap::new(), departed: 0 }
    }

    fn tenant(name: &str) -> TenantId {
        TenantId::new(name).unwrap()
    }

    fn piece(names: &[&str], last: bool) -> PlacementLine {
        let tenants = names.iter().map(|name| (tenant(name), Generation(5))).collect();
        PlacementLine::Tenants { version: 10, tenants, leaving: Vec::new(), departed: 3, last }
    }

    fn changed(version: u64, after: u64, generation: u64) -> PlacementLine {
        let place = Place::Here { generation: Generation(generation) };
        PlacementLine::Changed { version, after, tenant: tenant("acme"), place }
    }

    #[test]
    fn a_list_counts_when_it_is_whole() {
        let mut heard = heard();
        heard.take(piece(&["acme"], false)).unwrap();
        assert_eq!((heard.version, heard.placements.known().len()), (0, 0));
        heard.take(piece(&["globex"], true)).unwrap();
        assert_eq!((heard.version, heard.placements.known().len()), (10, 2));
    }

    #[test]
    fn a_change_follows_the_line_before_it_or_everything_is_asked_for_anew() {
        let mut heard = heard();
        heard.take(piece(&["acme"], true)).unwrap();
        heard.take(changed(14, 10, 6)).unwrap();
        heard.take(PlacementLine::Heartbeat { version: 20 }).unwrap();
        heard.take(changed(21, 20, 7)).unwrap();
        assert_eq!(heard.placements.generation(&tenant("acme")), Some(Generation(7)));
        for line in [changed(30, 25, 8), changed(21, 21, 8), PlacementLine::Heartbeat { version: 3 }] {
            heard.version = 21;
            assert!(heard.take(line).is_err());
            assert_eq!(heard.version, 0);
        }
        assert_eq!(heard.placements.generation(&tenant("acme")), Some(Generation(7)), "what is known goes on");
    }

    #[test]
    fn a_list_that_makes_no_sense_leaves_what_is_known() {
        let mut heard = heard();
        heard.take(piece(&["acme"], true)).unwrap();
        assert!(heard.take(piece(&[], true)).is_err());
        assert_eq!(heard.placements.generation(&tenant("acme")), Some(Generation(5)));
    }

    /// A cell that was away while all of its tenants were brought elsewhere.
    #[test]
    fn a_list_that_is_empty_because_all_have_left_is_taken() {
        let mut heard = heard();
        heard.take(piece(&["acme"], true)).unwrap();
        let emptied = |departed| PlacementLine::Tenants {
            version: 12,
            tenants: Vec::new(),
            leaving: Vec::new(),
            departed,
            last: true,
        };
        assert!(heard.take(emptied(3)).is_err());
        heard.take(emptied(4)).unwrap();
        assert!(heard.placements.has_left(&tenant("acme")));
    }
}
