//! Tells tenancy which tenants press their share here and what cells are asked, and hears what this router may allow.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use contracts::CellId;
use contracts::shares::{self, Load, MOST_LOADS};
use uuid::Uuid;

use super::{FeedError, Feeds, Source, Standing};
use crate::fairness::{Ledger, Shares};
use crate::knowledge::Knowledge;

const NAME: &str = "shares";
const BEAT: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(5);
/// A thousand shares of tenants with the longest names.
const MOST_BYTES: usize = 1024 * 1024;

#[derive(Clone)]
pub struct Sharing {
    knowledge: Arc<Knowledge>,
    source: Arc<Source>,
    ledger: Arc<Ledger>,
    /// Where the clock of the ledger begins.
    begun: Instant,
    router: Uuid,
}

/// What had passed to each cell at the last report.
struct Told {
    at: Instant,
    passed: HashMap<CellId, u64>,
}

impl Told {
    fn loads<'a>(&mut self, passed: impl Iterator<Item = (&'a CellId, u64)>, now: Instant) -> Vec<Load> {
        let seconds = now.duration_since(self.at).as_secs_f64().max(0.001);
        let mut loads = Vec::new();
        let mut all = HashMap::new();
        for (cell, count) in passed {
            let before = self.passed.get(cell).copied().unwrap_or_default();
            // Less than before: it is another gate, which has counted from nothing.
            let since = count.checked_sub(before).unwrap_or(count);
            let requests_per_second = (since as f64 / seconds).round() as u32;
            if requests_per_second > 0 && loads.len() < MOST_LOADS {
                loads.push(Load { cell: cell.clone(), requests_per_second });
            }
            all.insert(cell.clone(), count);
        }
        (self.at, self.passed) = (now, all);
        loads
    }
}

/// The router's id, the same for as long as its data folder: a restart or an upgrade is not one router more.
pub fn own_id(data_dir: &Path) -> std::io::Result<Uuid> {
    let path = data_dir.join("router-id");
    let read = std::fs::read_to_string(&path).ok().and_then(|text| Uuid::parse_str(text.trim()).ok());
    if let Some(id) = read {
        return Ok(id);
    }
    let id = Uuid::now_v7();
    let fresh = data_dir.join(format!("router-id.{id}"));
    std::fs::write(&fresh, format!("{id}\n"))?;
    std::fs::rename(&fresh, &path)?;
    Ok(id)
}

impl Sharing {
    pub fn new(feeds: &Feeds) -> Self {
        let Feeds { knowledge, source, ledger, begun, router, .. } = feeds;
        Self {
            knowledge: knowledge.clone(),
            source: source.clone(),
            ledger: ledger.clone(),
            begun: *begun,
            router: *router,
        }
    }

    pub async fn follow(self) {
        let mut standing = Standing::new(NAME, &self.knowledge);
        let mut told = Told { at: Instant::now(), passed: HashMap::new() };
        loop {
            let pause = match self.report(&mut told).await {
                Ok(()) => {
                    standing.heard();
                    BEAT
                }
                Err(error) => {
                    standing.lost(error);
                    standing.pause().max(BEAT)
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn report(&self, told: &mut Told) -> Result<(), FeedError> {
        let held = self.knowledge.shares();
        let pressures = self.ledger.pressures(held.named(), self.begun.elapsed());
        let mut report = held.report(self.router, pressures);
        let view = self.knowledge.view();
        report.loads = told.loads(view.passed(), Instant::now());
        let answer = self.source.post("/internal/v1/shares", &report, PATIENCE, MOST_BYTES).await?;
        let answer: shares::Shares = serde_json::from_slice(&answer).map_err(|e| FeedError::Shape(e.to_string()))?;
        self.knowledge.replace_shares(Shares::from(answer));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_is_what_passed_since_the_last_report() {
        let (cell, begun) = (CellId::new("shared-1").unwrap(), Instant::now());
        let mut told = Told { at: begun, passed: HashMap::new() };
        let mut at = |second: u64, count| {
            let loads = told.loads([(&cell, count)].into_iter(), begun + Duration::from_secs(second));
            loads.first().map(|load| load.requests_per_second)
        };
        assert_eq!((at(2, 100), at(3, 100), at(4, 130)), (Some(50), None, Some(30)));
        assert_eq!(at(5, 7), Some(7), "a gate that counts anew");
    }

    #[test]
    fn a_folder_is_one_router_whatever_was_in_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let id = own_id(folder.path()).unwrap();
        assert_eq!(own_id(folder.path()).unwrap(), id);
        std::fs::write(folder.path().join("router-id"), "half a").unwrap();
        let other = own_id(folder.path()).unwrap();
        assert_ne!(other, id);
        assert_eq!(own_id(folder.path()).unwrap(), other);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
