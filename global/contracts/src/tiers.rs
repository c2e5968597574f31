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
    /// Longest body of a request, in bytes.
    #[serde(default)]
    pub body_bytes: u64,
    /// Of a router or cell that is full, its tenants get so many times what one of weight 1 gets; 0 is 1.
    #[serde(default)]
    pub weight: u32,
}

/// What a cell's gateway is told of a tenant's tier, as a header says it: three numbers, 0 = none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLimits {
    pub per_second: u32,
    pub burst: u32,
    /// Requests under way.
    pub concurrent: u32,
}

impl std::fmt::Display for RequestLimits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {}", self.per_second, self.burst, self.concurrent)
    }
}

impl RequestLimits {
    pub fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split(' ').map(|number| number.parse::<u32>().ok());
        let limits = Self { per_second: numbers.next()??, burst: numbers.next()??, concurrent: numbers.next()?? };
        let is_sound = limits.per_second == 0 || limits.burst > 0;
        (numbers.next().is_none() && is_sound).then_some(limits)
    }
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
            body_bytes: 0,
            weight: 1,
        }
    }

    /// What of it a cell's gateway has to know.
    pub fn requests(&self) -> RequestLimits {
        RequestLimits {
            per_second: self.requests_per_second,
            burst: self.request_burst,
            concurrent: self.concurrent_requests,
        }
    }

    /// Whether every rate has a burst: without one nothing would ever be let in.
    pub fn is_sound(&self) -> bool {
        (self.requests_per_second == 0 || self.request_burst > 0) && (self.bytes_per_second == 0 || self.byte_burst > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_read_back_and_nothing_else_does() {
        let limits = RequestLimits { per_second: 5, burst: 10, concurrent: 0 };
        assert_eq!(RequestLimits::parse(&limits.to_string()), Some(limits));
        for wrong in ["", "1 2", "1 2 3 4", "5 0 1", "-1 2 3", "1  2 3"] {
            assert_eq!(RequestLimits::parse(wrong), None, "{wrong}");
        }
    }
}
