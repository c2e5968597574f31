//! Requests of a tenant that is on its way from one cell to another.

use contracts::{Generation, TenantId};
use pingora::proxy::Session;
use tokio::sync::Semaphore;

use super::Proxy;
use crate::decision::{Destination, Placement, Refusal};

/// Places for requests that wait for their tenant to arrive. They hold their headers, and no body: none is read yet.
pub struct Arrivals(Semaphore);

impl Arrivals {
    pub fn new(most: usize) -> Self {
        Self(Semaphore::new(most.min(Semaphore::MAX_PERMITS)))
    }
}

impl Proxy {
    /// Waits for a placement that a cell has named: shortly, unless the tenant is on its way, as the cell says or turns
    /// out.
    pub(super) async fn reaches(&self, tenant: &TenantId, required: Generation, is_leaving: bool) -> bool {
        let (knowledge, limits) = (&self.shared.knowledge, &self.shared.limits);
        knowledge.reach(tenant, required, limits.placement()).await
            || ((is_leaving || knowledge.view().leaving(tenant).is_some())
                && knowledge.reach(tenant, required, limits.arrival()).await)
    }

    /// Waits until the tenant has arrived, if it has left its cell.
    pub(super) async fn arrived(
        &self,
        session: &Session,
        repaired: bool,
        placement: Placement,
    ) -> Result<Destination, Refusal> {
        let knowledge = &self.shared.knowledge;
        let Some(generation) = knowledge.view().leaving(&placement.tenant) else {
            return Ok(Destination::Cell(placement));
        };
        let Ok(_place) = self.shared.arrivals.0.try_acquire() else { return Err(Refusal::Moving) };
        if !knowledge.reach(&placement.tenant, generation, self.shared.limits.arrival()).await {
            return Err(Refusal::Moving);
        }
        self.decide(session, repaired)
    }
}
