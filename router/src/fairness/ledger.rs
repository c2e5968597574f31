//! The book of who uses what.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use contracts::TenantId;
use parking_lot::Mutex;

use super::account::Account;
use super::allowance::{Allowance, Over};
use super::bucket::Rate;

/// Tenants are spread over so many locks; each is held for some hundred nanoseconds.
const SHARDS: usize = 64;
/// A shard is looked through for idle tenants when it has doubled, and not below this.
const LEAST_SWEPT: usize = 1_024;

#[derive(Debug, Default)]
struct Shard {
    tenants: HashMap<TenantId, Account>,
    /// Those that have begun to press their share since it was last asked.
    pressing: Vec<TenantId>,
    /// Tenants it had after it was last looked through.
    swept: usize,
}

/// Everybody's use of one router.
#[derive(Debug)]
pub struct Ledger {
    hasher: RandomState,
    shards: Box<[Mutex<Shard>]>,
    /// Requests under way of all tenants, and the weights of those that have any.
    under_way: AtomicUsize,
    at_work: AtomicUsize,
    /// Requests under way above which each tenant is held to its share.
    capacity: usize,
}

/// One request's place; dropped when the request is over.
#[derive(Debug)]
pub struct Leave {
    ledger: Arc<Ledger>,
    tenant: TenantId,
    /// The tenant's rate and the requests it could still make at once; `None` where it has no limit.
    pub requests: Option<(Rate, u64)>,
    /// Whether there is a use in telling of bytes that have passed.
    pub counts_bytes: bool,
}

/// What a request that was let in is told.
struct Entered {
    requests: Option<(Rate, u64)>,
    counts_bytes: bool,
}

impl Ledger {
    /// `capacity` is in requests under way.
    pub fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self {
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            under_way: AtomicUsize::new(0),
            at_work: AtomicUsize::new(0),
            capacity,
        })
    }

    fn shard(&self, tenant: &TenantId) -> &Mutex<Shard> {
        // The remainder is below the number of shards, which is not zero.
        &self.shards[(self.hasher.hash_one(tenant) % SHARDS as u64) as usize]
    }

    /// Lets one request in, or says which limit it is over. A request that is refused uses nothing. `share` is this
    /// router's part of the allowance, in millionths.
    pub fn enter(
        self: &Arc<Self>,
        tenant: &TenantId,
        allowance: Allowance,
        share: u32,
        now: Duration,
    ) -> Result<Leave, Over> {
        let mut shard = self.shard(tenant).lock();
        if let Some(account) = shard.tenants.get_mut(tenant) {
            let entered = self.admit(account, allowance, share, now);
            let presses = account.begins_to_press(now);
            if presses {
                shard.pressing.push(tenant.clone());
            }
            return entered.map(|entered| self.leave(tenant, entered));
        }
        shard.make_room(now);
        let mut account = Account::new(now);
        let entered = self.admit(&mut account, allowance, share, now)?;
        if account.begins_to_press(now) {
            shard.pressing.push(tenant.clone());
        }
        shard.tenants.insert(tenant.clone(), account);
        Ok(self.leave(tenant, entered))
    }

    fn admit(&self, account: &mut Account, allowance: Allowance, share: u32, now: Duration) -> Result<Entered, Over> {
        if account.under_way == 0 {
            // The weight that is counted is the one with which it came to work.
            account.weight = allowance.weight.max(1);
        }
        account.set(allowance, share);
        let is_within_share = self.is_within_share(account.under_way, account.weight);
        let requests = account.take(is_within_share, now)?;
        self.under_way.fetch_add(1, Ordering::Relaxed);
        if account.under_way == 0 {
            self.at_work.fetch_add(account.weight as usize, Ordering::Relaxed);
        }
        account.under_way += 1;
        Ok(Entered { requests, counts_bytes: account.counts_bytes() })
    }

    fn leave(self: &Arc<Self>, tenant: &TenantId, Entered { requests, counts_bytes }: Entered) -> Leave {
        Leave { ledger: Arc::clone(self), tenant: tenant.clone(), requests, counts_bytes }
    }

    /// How hard tenants have pressed since this was last asked: those that pressed their share, and all of `named`.
    pub fn pressures<'a>(&self, named: impl Iterator<Item = &'a TenantId>, now: Duration) -> HashMap<TenantId, u32> {
        let mut pressures = HashMap::new();
        for shard in &self.shards {
            let Shard { tenants, pressing, .. } = &mut *shard.lock();
            for tenant in pressing.drain(..) {
                let pressure = tenants.get_mut(&tenant).map_or(0, |account| account.told(now));
                pressures.insert(tenant, pressure);
            }
        }
        for tenant in named {
            if !pressures.contains_key(tenant) {
                let told = self.shard(tenant).lock().tenants.get_mut(tenant).map_or(0, |account| account.told(now));
                pressures.insert(tenant.clone(), told);
            }
        }
        pressures
    }

    /// A full router is shared by the tenants at work, by their weights; one that has nothing under way gets one in.
    fn is_within_share(&self, under_way: u32, weight: u32) -> bool {
        if under_way == 0 || self.under_way.load(Ordering::Relaxed) < self.capacity {
            return true;
        }
        let share = self.capacity.saturating_mul(weight as usize) / self.at_work.load(Ordering::Relaxed).max(1);
        usize::try_from(under_way).is_ok_and(|under_way| under_way < share)
    }

    /// Tenants it keeps a book of.
    pub fn tenants(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().tenants.len()).sum()
    }

    #[cfg(test)]
    fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }
}

impl Shard {
    /// Forgets idle tenants now and then: each look is paid for by as many newcomers as it looks at.
    fn make_room(&mut self, now: Duration) {
        if self.tenants.len() < LEAST_SWEPT.max(self.swept * 2) {
            return;
        }
        self.tenants.retain(|_, account| !account.is_idle(now));
        self.swept = self.tenants.len();
    }
}

impl Leave {
    /// Notes bytes that have passed: they are never held back here, but nothing new begins before they are made good.
    pub fn passed(&self, bytes: u64, now: Duration) {
        let mut shard = self.ledger.shard(&self.tenant).lock();
        let Some(account) = shard.tenants.get_mut(&self.tenant) else { return };
        account.passed(bytes, now);
        if account.begins_to_press(now) {
            shard.pressing.push(self.tenant.clone());
        }
    }
}

impl Drop for Leave {
    fn drop(&mut self) {
        let mut shard = self.ledger.shard(&self.tenant).lock();
        self.ledger.under_way.fetch_sub(1, Ordering::Relaxed);
        if let Some(account) = shard.tenants.get_mut(&self.tenant) {
            account.under_way -= 1;
            if account.under_way == 0 {
                self.ledger.at_work.fetch_sub(account.weight as usize, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use contracts::shares::WHOLE;

    use super::*;

    fn tenant(name: impl std::fmt::Display) -> TenantId {
        TenantId::new(format!("t-{name}")).unwrap()
    }

    fn rate(per_second: u64, burst: u64) -> Option<Rate> {
        Some(Rate { per_second: NonZeroU64::new(per_second)?, burst: NonZeroU64::new(burst)? })
    }

    fn left(entered: &Result<Leave, Over>) -> Option<u64> {
        entered.as_ref().unwrap().requests.map(|(_, left)| left)
    }

    const BEGUN: Duration = Duration::from_secs(1);

    #[test]
    fn one_tenants_use_is_not_anothers() {
        let ledger = Ledger::new(1_000);
        let allowance = Allowance { requests: rate(1, 2), ..Allowance::default() };
        let acme: Vec<_> = (0..3).map(|_| ledger.enter(&tenant("acme"), allowance, WHOLE, BEGUN)).collect();
        assert_eq!(left(&acme[0]), Some(1));
        assert_eq!(acme[2].as_ref().unwrap_err(), &Over::Requests { after: Duration::from_secs(1) });
        assert_eq!(left(&ledger.enter(&tenant("globex"), allowance, WHOLE, BEGUN)), Some(1));
        drop(acme);
        assert_eq!(ledger.under_way(), 0);
    }

    #[test]
    fn a_place_is_free_again_when_its_request_is_over() {
        let ledger = Ledger::new(1_000);
        let allowance = Allowance { concurrent: Some(1), requests: rate(1_000, 1_000), ..Allowance::default() };
        let first = ledger.enter(&tenant("acme"), allowance, WHOLE, BEGUN).unwrap();
        assert_eq!(ledger.enter(&tenant("acme"), allowance, WHOLE, BEGUN).unwrap_err(), Over::Concurrent { limit: 1 });
        drop(first);
        // The refused one has used nothing.
        assert_eq!(left(&ledger.enter(&tenant("acme"), allowance, WHOLE, BEGUN)), Some(998));
    }

    #[test]
    fn bytes_that_have_passed_keep_the_next_request_out() {
        let ledger = Ledger::new(1_000);
        let allowance = Allowance { bytes: rate(100, 100), ..Allowance::default() };
        let leave = ledger.enter(&tenant("acme"), allowance, WHOLE, BEGUN).unwrap();
        leave.passed(300, BEGUN);
        drop(leave);
        let Over::Bytes { after } = ledger.enter(&tenant("acme"), allowance, WHOLE, BEGUN).unwrap_err() else {
            panic!()
        };
        assert!(after > Duration::from_secs(2) && after < Duration::from_millis(2_001), "{after:?}");
        assert!(ledger.enter(&tenant("acme"), allowance, WHOLE, BEGUN + after).is_ok());
    }

    #[test]
    fn a_full_router_is_shared_evenly() {
        let ledger = Ledger::new(90);
        let none = Allowance::default();
        let mut greedy: Vec<_> =
            (0..90).map(|_| ledger.enter(&tenant("greedy"), none, WHOLE, BEGUN).unwrap()).collect();
        assert_eq!(ledger.enter(&tenant("greedy"), none, WHOLE, BEGUN).unwrap_err(), Over::Share);
        let mut modest = Vec::new();
        for name in ["one", "two"] {
            let entered = (0..90).map_while(|_| ledger.enter(&tenant(name), none, WHOLE, BEGUN).ok());
            modest.push(entered.collect::<Vec<_>>());
        }
        // Each had half when it came, or a third.
        assert_eq!(modest.iter().map(Vec::len).collect::<Vec<_>>(), [45, 30]);
        greedy.truncate(30);
        assert_eq!(ledger.enter(&tenant("greedy"), none, WHOLE, BEGUN).unwrap_err(), Over::Share);
        greedy.truncate(29);
        assert!(ledger.enter(&tenant("greedy"), none, WHOLE, BEGUN).is_ok());
    }

    #[test]
    fn a_full_router_is_shared_by_weight() {
        let ledger = Ledger::new(90);
        let of_weight = |weight| Allowance { weight, ..Allowance::default() };
        let enter = |name: &str, weight| ledger.enter(&tenant(name), of_weight(weight), WHOLE, BEGUN);
        let mut light: Vec<_> = (0..90).map(|_| enter("light", 1).unwrap()).collect();
        let heavy: Vec<_> = (0..90).map_while(|_| enter("heavy", 2).ok()).collect();
        assert_eq!(heavy.len(), 60);
        light.truncate(30);
        assert_eq!(enter("light", 1).unwrap_err(), Over::Share);
        drop((light, heavy));
        assert_eq!((ledger.under_way(), ledger.at_work.load(Ordering::Relaxed)), (0, 0));
    }

    #[test]
    fn the_idle_are_forgotten_and_nobody_else() {
        let ledger = Ledger::new(1_000_000);
        let allowance = Allowance { requests: rate(1, 10), ..Allowance::default() };
        let kept = ledger.enter(&tenant("kept"), allowance, WHOLE, BEGUN).unwrap();
        for number in 0..300_000 {
            ledger.enter(&tenant(number), allowance, WHOLE, BEGUN).unwrap();
        }
        assert_eq!(ledger.tenants(), 300_001);
        let later = BEGUN + Duration::from_secs(2);
        for number in 300_000..900_000 {
            ledger.enter(&tenant(number), allowance, WHOLE, later).unwrap();
        }
        assert!(ledger.tenants() < 700_000, "{}", ledger.tenants());
        assert_eq!(left(&ledger.enter(&tenant("kept"), allowance, WHOLE, later)), Some(9));
        drop(kept);
        assert_eq!(ledger.under_way(), 0);
    }

    #[test]
    fn a_share_is_a_part_of_each_limit_and_pressing_it_is_told_once() {
        let ledger = Ledger::new(1_000);
        let allowance = Allowance { requests: rate(100, 40), concurrent: Some(30), ..Allowance::default() };
        let enter = |now| ledger.enter(&tenant("acme"), allowance, WHOLE / 10, now);
        let named = [tenant("acme"), tenant("quiet")];
        let pressures = |named: &[TenantId], now| ledger.pressures(named.iter(), now);
        let first = enter(BEGUN);
        assert_eq!(left(&first), Some(3));
        drop(first);
        assert_eq!(pressures(&[], BEGUN), HashMap::new());
        let held: Vec<_> = (0..3).map(|_| enter(BEGUN).unwrap()).collect();
        assert_eq!(enter(BEGUN).unwrap_err(), Over::Concurrent { limit: 3 });
        // One that was refused for want of a place and three that have one, of thirty.
        let told = pressures(&[], BEGUN + Duration::from_secs(1));
        assert_eq!(told, HashMap::from([(tenant("acme"), 4 * WHOLE / 30)]));
        drop(held);
        for _ in 0..250 {
            drop(enter(BEGUN + Duration::from_secs(3)));
        }
        // The first of them ended the span before.
        let told = pressures(&named, BEGUN + Duration::from_secs(3));
        assert_eq!(told, HashMap::from([(tenant("acme"), 2_490_000), (tenant("quiet"), 0)]));
        assert_eq!(pressures(&named, BEGUN + Duration::from_secs(4))[&tenant("acme")], 0);
        assert_eq!(ledger.under_way(), 0);
    }
}
