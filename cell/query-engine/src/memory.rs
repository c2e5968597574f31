//! Memory of statements: each within its tenant's share, each share within the whole.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use contracts::TenantId;
use datafusion::common::resources_datafusion_err;
use datafusion::error::Result;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation};
use parking_lot::Mutex;

use crate::Limits;

/// Bytes that somebody may use, inside what somebody larger may use.
struct Budget {
    used: AtomicUsize,
    limit: usize,
    within: Option<Arc<Budget>>,
    /// Who has spent it, when there is nothing left.
    spent_by: &'static str,
}

impl Budget {
    fn new(limit: usize, within: Option<Arc<Budget>>, spent_by: &'static str) -> Self {
        Self { used: AtomicUsize::new(0), limit, within, spent_by }
    }

    /// Takes from this one and from all around it, or from none: then it says who has spent it.
    fn take(&self, bytes: usize) -> Result<(), &'static str> {
        let add = |now: usize| now.checked_add(bytes).filter(|sum| *sum <= self.limit);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).map_err(|_| self.spent_by)?;
        let Some(within) = &self.within else { return Ok(()) };
        within.take(bytes).inspect_err(|_| {
            self.used.fetch_sub(bytes, Ordering::Relaxed);
        })
    }

    /// Beyond the limit if need be.
    fn grow(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
        self.within.iter().for_each(|within| within.grow(bytes));
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        self.within.iter().for_each(|within| within.give_back(bytes));
    }

    fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

/// The memory of an engine.
pub(crate) struct Memory {
    all: Arc<Budget>,
    tenant: usize,
    statement: usize,
    /// Only of tenants with a statement.
    tenants: Mutex<HashMap<TenantId, Weak<Budget>>>,
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "memory({} of {} bytes)", self.all.used(), self.all.limit)
    }
}

impl Memory {
    pub fn new(limits: &Limits) -> Self {
        let all = Arc::new(Budget::new(limits.total_memory, None, "other tenants' statements"));
        Self { all, tenant: limits.tenant_memory, statement: limits.statement_memory, tenants: Mutex::default() }
    }

    /// The memory of a tenant's next statement.
    pub fn statement(&self, tenant: &TenantId) -> Arc<dyn MemoryPool> {
        let share = self.share(tenant);
        Arc::new(StatementMemory(Budget::new(self.statement, Some(share), "the statement itself")))
    }

    fn share(&self, tenant: &TenantId) -> Arc<Budget> {
        let mut tenants = self.tenants.lock();
        if let Some(share) = tenants.get(tenant).and_then(Weak::upgrade) {
            return share;
        }
        tenants.retain(|_, share| share.strong_count() > 0);
        let share = Arc::new(Budget::new(self.tenant, Some(Arc::clone(&self.all)), "the tenant's other statements"));
        tenants.insert(tenant.clone(), Arc::downgrade(&share));
        share
    }
}

/// One statement's memory. Dropping it gives back what a failed statement might have left behind.
struct StatementMemory(Budget);

impl Drop for StatementMemory {
    fn drop(&mut self) {
        self.0.give_back(self.0.used());
    }
}

impl fmt::Debug for StatementMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for StatementMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "statement({} of {} bytes)", self.0.used(), self.0.limit)
    }
}

impl MemoryPool for StatementMemory {
    fn name(&self) -> &str {
        "statement"
    }

    fn grow(&self, _: &MemoryReservation, additional: usize) {
        self.0.grow(additional);
    }

    fn shrink(&self, _: &MemoryReservation, bytes: usize) {
        self.0.give_back(bytes);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let who = reservation.consumer().name();
        self.0.take(additional).map_err(|spent_by| {
            resources_datafusion_err!("{who} needs {additional} more bytes, the rest is held by {spent_by}")
        })
    }

    fn register(&self, _: &MemoryConsumer) {}

    fn reserved(&self) -> usize {
        self.0.used()
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.0.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_stops_at_its_own_limit_at_its_tenants_and_at_everybodys() {
        let limits = Limits { statement_memory: 60, tenant_memory: 80, total_memory: 100, ..Limits::default() };
        let memory = Memory::new(&limits);
        let (acme, globex) = (TenantId::new("acme").unwrap(), TenantId::new("globex").unwrap());
        let reserved = |tenant| MemoryConsumer::new("sort").register(&memory.statement(tenant));
        let (one, other, stranger) = (reserved(&acme), reserved(&acme), reserved(&globex));
        let refusal = |reservation: &MemoryReservation, bytes| reservation.try_grow(bytes).unwrap_err().to_string();
        assert!(refusal(&one, 61).contains("the statement itself"));
        one.try_grow(60).unwrap();
        assert!(refusal(&other, 21).contains("the tenant's other statements"));
        other.try_grow(20).unwrap();
        assert!(refusal(&stranger, 21).contains("other tenants' statements"));
        stranger.try_grow(20).unwrap();
        drop((one, other, stranger));
        assert_eq!(memory.all.used(), 0);
        memory.share(&TenantId::new("initech").unwrap());
        assert_eq!(memory.tenants.lock().len(), 1, "nothing is kept of a tenant without a statement");
    }
}
