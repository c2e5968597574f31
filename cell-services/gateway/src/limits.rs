//! What one tenant may use of the entry: requests per second, requests under way.
//!
//! Memory is bounded by the number of tenants tracked; only verified tenants of this cell are
//! ever tracked, and a tenant without a request under way whose allowance is whole may be
//! forgotten without changing any answer.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use contracts::TenantId;
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
    rate: Limiter,
    under_way: Arc<Semaphore>,
}

/// Limits of every tenant in use.
pub struct Limits {
    quota: Quota,
    policy: HeaderValue,
    concurrent: usize,
    tracked: usize,
    clock: DefaultClock,
    tenants: Mutex<HashMap<TenantId, Arc<Tenant>>>,
}

/// Leave for one request; dropped when its answer has been sent.
#[derive(Debug)]
pub struct Leave {
    _under_way: OwnedSemaphorePermit,
    /// Requests the tenant could still make at once.
    pub remaining: u32,
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
        let quota = Quota::per_second(settings.requests_per_second).allow_burst(settings.request_burst);
        let policy = format!("\"tenant\";q={};w=1;burst={}", settings.requests_per_second, settings.request_burst);
        Self {
            quota,
            policy: HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("\"tenant\"")),
            concurrent: settings.concurrent_requests,
            tracked: settings.tracked_tenants,
            clock: DefaultClock::default(),
            tenants: Mutex::new(HashMap::new()),
        }
    }

    pub fn enter(&self, tenant: &TenantId) -> Result<Leave, Refusal> {
        let limits = self.of(tenant).ok_or(Refusal::Crowded)?;
        let remaining = match limits.rate.check() {
            Ok(snapshot) => snapshot.remaining_burst_capacity(),
            Err(until) => return Err(Refusal::Rate { after: until.wait_time_from(self.clock.now()) }),
        };
        let permit = Arc::clone(&limits.under_way)
            .try_acquire_owned()
            .map_err(|_| Refusal::Concurrency { limit: self.concurrent })?;
        Ok(Leave { _under_way: permit, remaining })
    }

    fn of(&self, tenant: &TenantId) -> Option<Arc<Tenant>> {
        let mut tenants = self.tenants.lock();
        if let Some(found) = tenants.get(tenant) {
            return Some(Arc::clone(found));
        }
        if tenants.len() >= self.tracked {
            let whole = self.quota.burst_size().get();
            let idle = |t: &Tenant| {
                t.under_way.available_permits() == self.concurrent
                    // The check itself takes one request of the allowance.
                    && t.rate.check().is_ok_and(|s| s.remaining_burst_capacity() + 1 >= whole)
            };
            tenants.retain(|_, t| !idle(t));
        }
        if tenants.len() >= self.tracked {
            return None;
        }
        let fresh = Arc::new(Tenant {
            rate: RateLimiter::direct(self.quota).with_middleware(),
            under_way: Arc::new(Semaphore::new(self.concurrent)),
        });
        tenants.insert(tenant.clone(), Arc::clone(&fresh));
        Some(fresh)
    }

    /// Writes the allowance onto an answer.
    pub fn announce(&self, headers: &mut HeaderMap, remaining: u32) {
        headers.insert(RATE_LIMIT_POLICY, self.policy.clone());
        if let Ok(value) = HeaderValue::from_str(&format!("\"tenant\";r={remaining};t=1")) {
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
