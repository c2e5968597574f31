//! What a tenant may use, and what it is told when it uses more.

use std::num::NonZeroU64;
use std::time::Duration;

use contracts::shares::WHOLE;
use contracts::tiers::Tier;

use super::bucket::Rate;

/// What one tenant may use. `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Allowance {
    /// Requests.
    pub requests: Option<Rate>,
    /// Bytes of bodies, both ways together.
    pub bytes: Option<Rate>,
    /// Requests under way.
    pub concurrent: Option<u32>,
    /// Longest body of a request, in bytes.
    pub body: Option<u64>,
    /// Of a full router it gets so many times what one of weight 1 gets; 0 is 1.
    pub weight: u32,
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
            body: Some(tier.body_bytes).filter(|limit| *limit > 0),
            weight: tier.weight,
        }
    }

    /// This router's part of it, of which a millionth is one. Nothing goes below one: a tenant is never shut out.
    pub fn part(self, share: u32) -> Self {
        if share >= WHOLE {
            return self;
        }
        let of = |number: u64| u64::try_from(u128::from(number) * u128::from(share) / u128::from(WHOLE));
        let least = |number: NonZeroU64| of(number.get()).ok().and_then(NonZeroU64::new).unwrap_or(NonZeroU64::MIN);
        let rate = |rate: Rate| Rate { per_second: least(rate.per_second), burst: least(rate.burst) };
        let places = |limit: u32| of(limit.into()).ok().and_then(|part| u32::try_from(part).ok()).map(|p| p.max(1));
        Self {
            requests: self.requests.map(rate),
            bytes: self.bytes.map(rate),
            concurrent: self.concurrent.and_then(places),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_never_nothing() {
        let rate = |number: u64| {
            let number = NonZeroU64::new(number).unwrap();
            Some(Rate { per_second: number, burst: number })
        };
        let whole =
            Allowance { requests: rate(100), bytes: rate(u64::MAX), concurrent: Some(3), body: Some(9), weight: 2 };
        assert_eq!(whole.part(WHOLE), whole);
        let half = Allowance { requests: rate(50), bytes: rate(u64::MAX / 2), concurrent: Some(1), ..whole };
        assert_eq!(whole.part(WHOLE / 2), half);
        let least = Allowance { requests: rate(1), bytes: rate(18_446_744_073_709), concurrent: Some(1), ..whole };
        assert_eq!(whole.part(1), least);
        assert_eq!(Allowance::default().part(1), Allowance::default());
    }
}
