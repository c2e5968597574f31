//! What one tenant may do at the same time and per second.

use std::collections::HashMap;
use std::sync::Arc;

use contracts::TenantId;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::Settings;
use crate::error::Error;

/// Grows with the number of the cell's tenants, never with that of their calls.
#[derive(Debug)]
pub struct TenantLimits {
    rate: DefaultKeyedRateLimiter<TenantId>,
    clock: DefaultClock,
    running: Mutex<HashMap<TenantId, Arc<Semaphore>>>,
    statements: usize,
}

impl TenantLimits {
    pub fn new(settings: &Settings) -> Self {
        let quota = Quota::per_second(settings.tenant_rate).allow_burst(settings.tenant_burst);
        Self {
            rate: RateLimiter::keyed(quota),
            clock: DefaultClock::default(),
            running: Mutex::default(),
            statements: settings.tenant_statements,
        }
    }

    /// Counts one call.
    pub fn call(&self, tenant: &TenantId) -> Result<(), Error> {
        self.rate.check_key(tenant).map_err(|until| Error::Rate(until.wait_time_from(self.clock.now())))
    }

    /// A place for one statement that is bound or read, kept until it is dropped.
    pub fn statement(&self, tenant: &TenantId) -> Result<OwnedSemaphorePermit, Error> {
        let places = Arc::clone(
            self.running.lock().entry(tenant.clone()).or_insert_with(|| Arc::new(Semaphore::new(self.statements))),
        );
        places.try_acquire_owned().map_err(|_| Error::Concurrency(self.statements))
    }
}
