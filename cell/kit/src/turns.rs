//! Turns at something scarce, fair between tenants.
//!
//! Invariants: no more turns are out than there are places, no tenant has more of them than its share,
//! and no line is longer than its bound. A place that comes free goes to the tenants that wait by
//! rotation, and within a tenant to who came first: however long one tenant's line is, another's first
//! caller waits for one turn of each tenant at most.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use contracts::TenantId;
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// How much there is of it.
#[derive(Debug, Clone, Copy)]
pub struct Places {
    /// Turns out at the same time.
    pub all: usize,
    /// Of one tenant.
    pub tenant: usize,
    /// Callers of one tenant that may wait.
    pub line: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoTurn {
    #[error("{0} callers of the tenant wait already")]
    LineFull(usize),
    #[error("no place came free within {} s", .0.as_secs())]
    Late(Duration),
}

#[derive(Debug, Clone)]
pub struct Turns(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    places: Places,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    out: usize,
    /// Only tenants that have a turn or wait for one.
    tenants: HashMap<TenantId, Tenant>,
    /// Tenants with a line, the next to be served first.
    rotation: VecDeque<TenantId>,
}

#[derive(Debug, Default)]
struct Tenant {
    out: usize,
    line: VecDeque<oneshot::Sender<Turn>>,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub struct Turn {
    shared: Arc<Shared>,
    tenant: TenantId,
}

impl Turns {
    pub fn new(places: Places) -> Self {
        Self(Arc::new(Shared { places, state: Mutex::default() }))
    }

    /// Places there are.
    pub fn all(&self) -> usize {
        self.0.places.all
    }

    /// Turns that are out now.
    pub fn out(&self) -> usize {
        self.0.state.lock().out
    }

    /// Waits in line, but not longer than `wait`. Leaving the line early costs nothing.
    pub async fn take(&self, tenant: &TenantId, wait: Duration) -> Result<Turn, NoTurn> {
        let place = self.join(tenant)?;
        Shared::serve(&self.0);
        // The sender lives in the line until it is used.
        let turn = tokio::time::timeout(wait, place).await;
        turn.ok().and_then(Result::ok).ok_or(NoTurn::Late(wait))
    }

    fn join(&self, tenant: &TenantId) -> Result<oneshot::Receiver<Turn>, NoTurn> {
        let mut state = self.0.state.lock();
        let State { tenants, rotation, .. } = &mut *state;
        let entry = tenants.entry(tenant.clone()).or_default();
        entry.line.retain(|waiting| !waiting.is_closed());
        if entry.line.len() >= self.0.places.line {
            return Err(NoTurn::LineFull(self.0.places.line));
        }
        let (sender, receiver) = oneshot::channel();
        entry.line.push_back(sender);
        if !rotation.contains(tenant) {
            rotation.push_back(tenant.clone());
        }
        Ok(receiver)
    }
}

impl Shared {
    /// Hands out the free places. A turn whose taker has left comes back by its drop, outside the lock.
    fn serve(shared: &Arc<Self>) {
        loop {
            let next = shared.state.lock().next(shared.places);
            let Some((tenant, taker)) = next else { return };
            drop(taker.send(Turn { shared: Arc::clone(shared), tenant }));
        }
    }
}

impl State {
    /// The next in line, whose place is counted as taken.
    fn next(&mut self, places: Places) -> Option<(TenantId, oneshot::Sender<Turn>)> {
        while self.out < places.all {
            let below = |id: &TenantId| self.tenants.get(id).is_some_and(|tenant| tenant.out < places.tenant);
            let at = self.rotation.iter().position(below)?;
            let id = self.rotation.remove(at)?;
            let tenant = self.tenants.get_mut(&id)?;
            // Who has left is passed over here, however many they are, and not one inside the other.
            tenant.line.retain(|waiting| !waiting.is_closed());
            let Some(taker) = tenant.line.pop_front() else {
                if tenant.out == 0 {
                    self.tenants.remove(&id);
                }
                continue;
            };
            tenant.out += 1;
            self.out += 1;
            if !tenant.line.is_empty() {
                self.rotation.push_back(id.clone());
            }
            return Some((id, taker));
        }
        None
    }

    fn give_back(&mut self, id: &TenantId) {
        self.out -= 1;
        let Some(tenant) = self.tenants.get_mut(id) else { return };
        tenant.out -= 1;
        if tenant.out == 0 && tenant.line.is_empty() {
            self.tenants.remove(id);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.shared.state.lock().give_back(&self.tenant);
        Shared::serve(&self.shared);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    fn tenant(name: &str) -> TenantId {
        TenantId::new(name).unwrap()
    }

    fn turns(all: usize, tenant: usize, line: usize) -> Turns {
        Turns::new(Places { all, tenant, line })
    }

    #[tokio::test]
    async fn a_tenant_has_its_share_and_no_more() {
        let (turns, acme, globex) = (turns(3, 2, 8), tenant("acme"), tenant("globex"));
        let _first = turns.take(&acme, LONG).await.unwrap();
        let second = turns.take(&acme, LONG).await.unwrap();
        let mut third = Box::pin(turns.take(&acme, LONG));
        assert!(third.as_mut().now_or_never().is_none(), "one place is free, and not for acme");
        let _other = turns.take(&globex, LONG).await.unwrap();
        drop(second);
        third.await.unwrap();
    }

    #[tokio::test]
    async fn a_long_line_does_not_make_another_tenant_wait() {
        let (turns, acme, globex) = (turns(1, 1, 100), tenant("acme"), tenant("globex"));
        let held = turns.take(&acme, LONG).await.unwrap();
        let mut line: Vec<_> = (0..100).map(|_| Box::pin(turns.take(&acme, LONG))).collect();
        for waiting in &mut line {
            assert!(waiting.as_mut().now_or_never().is_none());
        }
        assert_eq!(turns.take(&acme, LONG).await.unwrap_err(), NoTurn::LineFull(100));
        let mut other = Box::pin(turns.take(&globex, LONG));
        assert!(other.as_mut().now_or_never().is_none());
        drop(held);
        let first = line.remove(0).now_or_never().expect("acme was first in the rotation").unwrap();
        drop(first);
        other.now_or_never().expect("globex is next, before 99 of acme").unwrap();
    }

    #[tokio::test]
    async fn who_leaves_the_line_takes_no_place_with_him() {
        let (turns, acme) = (turns(1, 1, 4), tenant("acme"));
        let held = turns.take(&acme, LONG).await.unwrap();
        for _ in 0..10 {
            assert_eq!(turns.take(&acme, Duration::ZERO).await.unwrap_err(), NoTurn::Late(Duration::ZERO));
        }
        // Many who left, of many tenants, are passed over in one go.
        for number in 0..5_000 {
            let other = tenant(&format!("tenant-{number}"));
            let mut gone = Box::pin(turns.take(&other, LONG));
            assert!(gone.as_mut().now_or_never().is_none());
        }
        // Served and gone at the same time: the turn is in a receiver nobody reads.
        let mut gone = Box::pin(turns.take(&acme, LONG));
        assert!(gone.as_mut().now_or_never().is_none());
        drop(held);
        drop(gone);
        assert_eq!(turns.out(), 0);
        drop(turns.take(&acme, LONG).await.unwrap());
        assert!(turns.0.state.lock().tenants.is_empty(), "nothing is remembered of who is not here");
    }
}
