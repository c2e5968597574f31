//! Rows that somebody waits for: a tenant leaves, and what it has pushed is to be in its tables first.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use contracts::TenantId;
use kit::moving::{Round, Settles, Unsettled};
use parking_lot::Mutex;
use tokio::time::Instant;

/// Whether somebody waits for the rows on the topic. Rounds are then committed as soon as they have any.
#[derive(Debug, Clone, Default)]
pub struct Wanted(Arc<Mutex<Option<Instant>>>);

/// How long one wish holds: rows that were on the topic are read within it.
const WANTED_FOR: Duration = Duration::from_secs(2);

impl Wanted {
    pub fn is_on(&self) -> bool {
        self.0.lock().is_some_and(|until| Instant::now() < until)
    }
}

#[async_trait]
impl Settles for Wanted {
    fn name(&self) -> String {
        "the sink".to_owned()
    }

    /// The data bus is settled next, which waits for the commits.
    async fn settle(&self, _tenant: &TenantId, _: Round) -> Result<(), Unsettled> {
        *self.0.lock() = Some(Instant::now() + WANTED_FOR);
        Ok(())
    }
}
