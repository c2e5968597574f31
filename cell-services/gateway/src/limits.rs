//! What one tenant may use of the entry: requests per second, requests under way.
//!
//! Memory is bounded by the number of tenants tracked; only verified tenants of this cell are
//! ever tracked, and a tenant without a request under way whose allowance is whole may be
//! forgotten without changing any answer.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use contracts::TenantId;
use contracts::tiers::RequestLimits;
use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use http::{HeaderMap, HeaderName, HeaderValue};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::Settings;

/// draft-ietf-httpapi-ratelimit-headers.
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

type Limiter = RateLimiter<NotKeyed, InMemoryState, DefaultClock, StateInformationMiddleware>;

struct Tenant {
    terms: Terms,
    /// The terms, as each of its answers says them.
    policy: HeaderValue,
    rate: Limiter,
    under_way: Arc<Semaphore>,
}

/// What one tenant may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Terms {
    /// Requests a second, and at once.
    rate: NonZeroU32,
    burst: NonZeroU32,
    /// Requests under way.
    concurrent: usize,
}

impl Terms {
    fn quota(self) -> Quota {
        Quota::per_second(self.rate).allow_burst(self.burst)
    }

    fn policy(self) -> HeaderValue {
        let policy = format!("\"tenant\";q={};w=1;burst={}", self.rate, self.burst);
        HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("\"tenant\""))
    }
}

/// Limits of every tenant in use.
pub struct Limits {
    /// Of a tenant whose tier says nothing.
    terms: Terms,
    tracked: usize,
    clock: DefaultClock,
    tenants: Mutex<HashMap<TenantId, Arc<Tenant>>>,
}

/// Leave for one request; dropped when its answer has been sent.
#[derive(Debug)]
pub struct Leave {
    _under_way: OwnedSemaphorePermit,
    pub left: Left,
}

/// What a tenant is told of its allowance.
#[derive(Debug, Clone)]
pub struct Left {
    /// Requests it could still make at once.
    remaining: u32,
    policy: HeaderValue,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    Rate {
        after: Duration,
    },
    Concurrency {
        limit: usize,
    },
    /// More tenants at once than this process is set up to keep apart.
    Crowded,
}

impl Limits {
    pub fn new(settings: &Settings) -> Self {
        let (rate, burst) = (settings.requests_per_second, settings.request_burst);
        Self {
            terms: Terms { rate, burst, concurrent: settings.concurrent_requests },
            tracked: settings.tracked_tenants,
            clock: DefaultClock::default(),
            tenants: Mutex::new(HashMap::new()),
        }
    }

    /// `tier` is what the router said of the tenant's tier.
    pub fn enter(&self, tenant: &TenantId, tier: Option<RequestLimits>) -> Result<Leave, (Refusal, Left)> {
        let terms = self.terms_of(tier);
        let crowded = || (Refusal::Crowded, Left { remaining: 0, policy: terms.policy() });
        let limits = self.of(tenant, terms).ok_or_else(crowded)?;
        let left = |remaining| Left { remaining, policy: limits.policy.clone() };
        let remaining = match limits.rate.check() {
            Ok(snapshot) => snapshot.remaining_burst_capacity(),
            Err(until) => return Err((Refusal::Rate { after: until.wait_time_from(self.clock.now()) }, left(0))),
        };
        let permit = Arc::clone(&limits.under_way)
            .try_acquire_owned()
            .map_err(|_| (Refusal::Concurrency { limit: terms.concurrent }, left(0)))?;
        Ok(Leave { _under_way: permit, left: left(remaining) })
    }

    /// The tier's own numbers where it has them, this cell's where it has none.
    fn terms_of(&self, tier: Option<RequestLimits>) -> Terms {
        let Some(tier) = tier else { return self.terms };
        let rate = NonZeroU32::new(tier.per_second).zip(NonZeroU32::new(tier.burst));
        let (rate, burst) = rate.unwrap_or((self.terms.rate, self.terms.burst));
        Terms {
            rate,
            burst,
            concurrent: if tier.concurrent == 0 { self.terms.concurrent } else { tier.concurrent as usize },
        }
    }

    fn of(&self, tenant: &TenantId, terms: Terms) -> Option<Arc<Tenant>> {
        let mut tenants = self.tenants.lock();
        // One whose tier has changed begins anew; what it has under way is counted by what it entered with.
        if let Some(found) = tenants.get(tenant).filter(|found| found.terms == terms) {
            return Some(Arc::clone(found));
        }
        if tenants.len() >= self.tracked && !tenants.contains_key(tenant) {
            let idle = |t: &Tenant| {
                t.under_way.available_permits() == t.terms.concurrent
                    // The check itself takes one request of the allowance.
                    && t.rate.check().is_ok_and(|s| s.remaining_burst_capacity() + 1 >= t.terms.burst.get())
            };
            tenants.retain(|_, t| !idle(t));
        }
        if tenants.len() >= self.tracked && !tenants.contains_key(tenant) {
            return None;
        }
        let fresh = Arc::new(Tenant {
            terms,
            policy: terms.policy(),
            rate: RateLimiter::direct(terms.quota()).with_middleware(),
            under_way: Arc::new(Semaphore::new(terms.concurrent)),
        });
        tenants.insert(tenant.clone(), Arc::clone(&fresh));
        Some(fresh)
    }
}

impl Left {
    /// Writes the allowance onto an answer.
    pub fn announce(&self, headers: &mut HeaderMap) {
        headers.insert(RATE_LIMIT_POLICY, self.policy.clone());
        if let Ok(value) = HeaderValue::from_str(&format!("\"tenant\";r={};t=1", self.remaining)) {
            headers.insert(RATE_LIMIT, value);
        }
    }
}

/// Lets through a bounded number of audit records of refusals, and counts the rest.
pub struct RefusalSampler {
    quota: Quota,
    tracked: usize,
    tenants: Mutex<HashMap<TenantId, (Limiter, u64)>>,
}

impl RefusalSampler {
    pub fn new(settings: &Settings) -> Self {
        let quota = Quota::per_second(settings.refusals_recorded_per_second);
        Self { quota, tracked: settings.tracked_tenants, tenants: Mutex::new(HashMap::new()) }
    }

    /// `Some(n)` if this refusal is to be recorded: `n` were left out since the last record.
    pub fn record(&self, tenant: &TenantId) -> Option<u64> {
        let mut tenants = self.tenants.lock();
        if !tenants.contains_key(tenant) {
            if tenants.len() >= self.tracked {
                tenants.retain(|_, (_, left_out)| *left_out > 0);
            }
            if tenants.len() >= self.tracked {
                return None;
            }
            tenants.insert(tenant.clone(), (RateLimiter::direct(self.quota).with_middleware(), 0));
        }
        let (limiter, left_out) = tenants.get_mut(tenant)?;
        if limiter.check().is_ok() {
            Some(std::mem::take(left_out))
        } else {
            *left_out += 1;
            None
        }
    }
}
