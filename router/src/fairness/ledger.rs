//! The book of who uses what.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use contracts::TenantId;
use contracts::tiers::Tier;
use parking_lot::Mutex;

use super::bucket::{Bucket, Rate};

/// Tenants are spread over so many locks; each is held for some hundred nanoseconds.
const SHARDS: usize = 64;
/// A shard is looked through for idle tenants when it has doubled, and not below this.
const LEAST_SWEPT: usize = 1_024;

/// What one tenant may use. `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Allowance {
    /// Requests.
    pub requests: Option<Rate>,
    /// Bytes of bodies, both ways together.
    pub bytes: Option<Rate>,
    /// Requests under way.
    pub concurrent: Option<u32>,
}

/// Which limit a tenant is at, and when it may come again where that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    Requests {
        after: Duration,
    },
    Bytes {
        after: Duration,
    },
    Concurrent {
        limit: u32,
    },
    /// The router is full, and this tenant has its share of it.
    Share,
}

impl Allowance {
    pub fn of(tier: &Tier) -> Self {
        let rate = |per_second: u64, burst: u64| {
            Some(Rate { per_second: NonZeroU64::new(per_second)?, burst: NonZeroU64::new(burst)? })
        };
        Self {
            requests: rate(tier.requests_per_second.into(), tier.request_burst.into()),
            bytes: rate(tier.bytes_per_second, tier.byte_burst),
            concurrent: Some(tier.concurrent_requests).filter(|limit| *limit > 0),
        }
    }
}

#[derive(Debug, Default)]
struct Usage {
    requests: Bucket,
    bytes: Bucket,
    under_way: u32,
}

impl Usage {
    fn is_idle(&self, allowance: &Allowance, now: Duration) -> bool {
        let is_whole = |bucket: Bucket, rate: Option<Rate>| rate.is_none_or(|rate| bucket.is_empty(rate, now));
        self.under_way == 0 && is_whole(self.requests, allowance.requests) && is_whole(self.bytes, allowance.bytes)
    }
}

#[derive(Debug, Default)]
struct Shard {
    tenants: HashMap<TenantId, (Usage, Allowance)>,
    /// Tenants it had after it was last looked through.
    swept: usize,
}

/// Everybody's use of one router.
#[derive(Debug)]
pub struct Ledger {
    hasher: RandomState,
    shards: Box<[Mutex<Shard>]>,
    /// Requests under way of all tenants, and tenants that have any.
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

    /// Lets one request in, or says which limit it is over. A request that is refused uses nothing.
    pub fn enter(self: &Arc<Self>, tenant: &TenantId, allowance: Allowance, now: Duration) -> Result<Leave, Over> {
        let mut shard = self.shard(tenant).lock();
        let remaining = match shard.tenants.get_mut(tenant) {
            Some((usage, known)) => {
                *known = allowance;
                self.admit(usage, &allowance, now)?
            }
            None => {
                shard.make_room(now);
                let mut usage = Usage::default();
                let remaining = self.admit(&mut usage, &allowance, now)?;
                shard.tenants.insert(tenant.clone(), (usage, allowance));
                remaining
            }
        };
        let requests = allowance.requests.zip(remaining);
        let counts_bytes = allowance.bytes.is_some();
        Ok(Leave { ledger: Arc::clone(self), tenant: tenant.clone(), requests, counts_bytes })
    }

    fn admit(&self, usage: &mut Usage, allowance: &Allowance, now: Duration) -> Result<Option<u64>, Over> {
        if let Some(limit) = allowance.concurrent.filter(|limit| usage.under_way >= *limit) {
            return Err(Over::Concurrent { limit });
        }
        if !self.is_within_share(usage.under_way) {
            return Err(Over::Share);
        }
        if let Some(rate) = allowance.bytes {
            usage.bytes.has_room(rate, now).map_err(|after| Over::Bytes { after })?;
        }
        let remaining = match allowance.requests {
            Some(rate) => Some(usage.requests.take(rate, now).map_err(|after| Over::Requests { after })?),
            None => None,
        };
        self.under_way.fetch_add(1, Ordering::Relaxed);
        if usage.under_way == 0 {
            self.at_work.fetch_add(1, Ordering::Relaxed);
        }
        usage.under_way += 1;
        Ok(remaining)
    }

    /// A full router is shared evenly by the tenants at work; one that has nothing under way gets one in.
    fn is_within_share(&self, under_way: u32) -> bool {
        if under_way == 0 || self.under_way.load(Ordering::Relaxed) < self.capacity {
            return true;
        }
        let share = self.capacity / self.at_work.load(Ordering::Relaxed).max(1);
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
        self.tenants.retain(|_, (usage, allowance)| !usage.is_idle(allowance, now));
        self.swept = self.tenants.len();
    }
}

impl Leave {
    /// Notes bytes that have passed: they are never held back here, but nothing new begins before they are made good.
    pub fn passed(&self, bytes: u64, now: Duration) {
        let mut shard = self.ledger.shard(&self.tenant).lock();
        if let Some((usage, Allowance { bytes: Some(rate), .. })) = shard.tenants.get_mut(&self.tenant) {
            usage.bytes.charge(bytes, *rate, now);
        }
    }
}

impl Drop for Leave {
    fn drop(&mut self) {
        let mut shard = self.ledger.shard(&self.tenant).lock();
        self.ledger.under_way.fetch_sub(1, Ordering::Relaxed);
        if let Some((usage, _)) = shard.tenants.get_mut(&self.tenant) {
            usage.under_way -= 1;
            if usage.under_way == 0 {
                self.ledger.at_work.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
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
        let acme: Vec<_> = (0..3).map(|_| ledger.enter(&tenant("acme"), allowance, BEGUN)).collect();
        assert_eq!(left(&acme[0]), Some(1));
        assert_eq!(acme[2].as_ref().unwrap_err(), &Over::Requests { after: Duration::from_secs(1) });
        assert_eq!(left(&ledger.enter(&tenant("globex"), allowance, BEGUN)), Some(1));
        drop(acme);
        assert_eq!(ledger.under_way(), 0);
    }

    #[test]
    fn a_place_is_free_again_when_its_request_is_over() {
        let ledger = Ledger::new(1_000);
        let allowance = Allowance { concurrent: Some(1), requests: rate(1_000, 1_000), ..Allowance::default() };
        let first = ledger.enter(&tenant("acme"), allowance, BEGUN).unwrap();
        assert_eq!(ledger.enter(&tenant("acme"), allowance, BEGUN).unwrap_err(), Over::Concurrent { limit: 1 });
        drop(first);
        // The refused one has used nothing.
        assert_eq!(left(&ledger.enter(&tenant("acme"), allowance, BEGUN)), Some(998));
    }

    #[test]
    fn bytes_that_have_passed_keep_the_next_request_out() {
        let ledger = Ledger::new(1_000);
        let allowance = Allowance { bytes: rate(100, 100), ..Allowance::default() };
        let leave = ledger.enter(&tenant("acme"), allowance, BEGUN).unwrap();
        leave.passed(300, BEGUN);
        drop(leave);
        let Over::Bytes { after } = ledger.enter(&tenant("acme"), allowance, BEGUN).unwrap_err() else { panic!() };
        assert!(after > Duration::from_secs(2) && after < Duration::from_millis(2_001), "{after:?}");
        assert!(ledger.enter(&tenant("acme"), allowance, BEGUN + after).is_ok());
    }

    #[test]
    fn a_full_router_is_shared_evenly() {
        let ledger = Ledger::new(90);
        let none = Allowance::default();
        let mut greedy: Vec<_> = (0..90).map(|_| ledger.enter(&tenant("greedy"), none, BEGUN).unwrap()).collect();
        assert_eq!(ledger.enter(&tenant("greedy"), none, BEGUN).unwrap_err(), Over::Share);
        let mut modest = Vec::new();
        for name in ["one", "two"] {
            let entered = (0..90).map_while(|_| ledger.enter(&tenant(name), none, BEGUN).ok());
            modest.push(entered.collect::<Vec<_>>());
        }
        // Each had half when it came, or a third.
        assert_eq!(modest.iter().map(Vec::len).collect::<Vec<_>>(), [45, 30]);
        greedy.truncate(30);
        assert_eq!(ledger.enter(&tenant("greedy"), none, BEGUN).unwrap_err(), Over::Share);
        greedy.truncate(29);
        assert!(ledger.enter(&tenant("greedy"), none, BEGUN).is_ok());
    }

    #[test]
    fn the_idle_are_forgotten_and_nobody_else() {
        let ledger = Ledger::new(1_000_000);
        let allowance = Allowance { requests: rate(1, 10), ..Allowance::default() };
        let kept = ledger.enter(&tenant("kept"), allowance, BEGUN).unwrap();
        for number in 0..300_000 {
            ledger.enter(&tenant(number), allowance, BEGUN).unwrap();
        }
        assert_eq!(ledger.tenants(), 300_001);
        let later = BEGUN + Duration::from_secs(2);
        for number in 300_000..900_000 {
            ledger.enter(&tenant(number), allowance, later).unwrap();
        }
        assert!(ledger.tenants() < 700_000, "{}", ledger.tenants());
        assert_eq!(left(&ledger.enter(&tenant("kept"), allowance, later)), Some(9));
        drop(kept);
        assert_eq!(ledger.under_way(), 0);
    }
}
