//! Tells tenancy which tenants press their share here, and hears what this router may allow.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use contracts::shares;
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
        loop {
            let pause = match self.report().await {
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

    async fn report(&self) -> Result<(), FeedError> {
        let held = self.knowledge.shares();
        let pressures = self.ledger.pressures(held.named(), self.begun.elapsed());
        let report = held.report(self.router, pressures);
        let told = self.source.post("/internal/v1/shares", &report, PATIENCE, MOST_BYTES).await?;
        let told: shares::Shares = serde_json::from_slice(&told).map_err(|e| FeedError::Shape(e.to_string()))?;
        self.knowledge.replace_shares(Shares::from(told));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
