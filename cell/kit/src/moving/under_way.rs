//! Changes that a tenant's requests are in the middle of, at an entry of the cell.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use contracts::TenantId;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::settling::{LOOK_EVERY, Round, Settles, Unsettled};
use crate::placements::Placements;

/// Changes that take longer are not waited for: they are refused where they would be stored, and so are not
/// acknowledged.
const GRACE: Duration = Duration::from_secs(5);

/// Counted while they last. An entry lets a request in again after it was counted: one that was let in before its tenant
/// began to leave is then either seen here, or refused.
#[derive(Debug)]
pub struct UnderWay {
    placements: Arc<Placements>,
    counts: Mutex<HashMap<TenantId, usize>>,
}

/// One change; over when dropped.
#[derive(Debug)]
pub struct Change {
    of: Arc<UnderWay>,
    tenant: TenantId,
}

impl UnderWay {
    pub fn new(placements: Arc<Placements>) -> Arc<Self> {
        Arc::new(Self { placements, counts: Mutex::default() })
    }

    pub fn begin(self: &Arc<Self>, tenant: &TenantId) -> Change {
        *self.counts.lock().entry(tenant.clone()).or_default() += 1;
        Change { of: Arc::clone(self), tenant: tenant.clone() }
    }

    fn has_any(&self, tenant: &TenantId) -> bool {
        self.counts.lock().contains_key(tenant)
    }
}

impl Drop for Change {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = self.of.counts.lock().entry(self.tenant.clone()) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[async_trait]
impl Settles for Arc<UnderWay> {
    fn name(&self) -> String {
        "the entry".to_owned()
    }

    async fn settle(&self, tenant: &TenantId, round: Round) -> Result<(), Unsettled> {
        if round == Round::Before {
            return Ok(());
        }
        // Whoever asks knows more than this cell has heard: it will hear it.
        while self.placements.lets_in(tenant) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let until = Instant::now() + GRACE;
        while self.has_any(tenant) && Instant::now() < until {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        if self.has_any(tenant) {
            tracing::warn!(%tenant, "a change of a leaving tenant is not waited for any longer");
        }
        Ok(())
    }
}
