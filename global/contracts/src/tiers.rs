//! What the tenants of a tier may use of the way to their cell.

use serde::{Deserialize, Serialize};

use crate::TierId;

/// Limits of each tenant of a tier, at all routers together; 0 = none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tier {
    pub tier: TierId,
    pub requests_per_second: u32,
    /// Requests that may come at once; not below 1 where there is a rate.
    pub request_burst: u32,
    /// Requests under way.
    pub concurrent_requests: u32,
    /// Bytes of bodies, both ways together.
    pub bytes_per_second: u64,
    /// Bytes that may come at once; not below 1 where there is a rate.
    pub byte_burst: u64,
}

impl Tier {
    /// A tier of that name without limits.
    pub fn unlimited(tier: TierId) -> Self {
        Self {
            tier,
            requests_per_second: 0,
            request_burst: 0,
            concurrent_requests: 0,
            bytes_per_second: 0,
            byte_burst: 0,
        }
    }

    /// Whether every rate has a burst: without one nothing would ever be let in.
    pub fn is_sound(&self) -> bool {
        (self.requests_per_second == 0 || self.request_burst > 0) && (self.bytes_per_second == 0 || self.byte_burst > 0)
    }
}
