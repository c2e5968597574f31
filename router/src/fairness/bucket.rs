//! One allowance, kept exactly: whole numbers, no clock of its own, nothing rounded in anybody's favour.
//!
//! A bucket holds what was used and not yet made good. It drains by the rate; what does not fit must wait. That is
//! GCRA (ITU-T I.371) told the other way round: the level is how far its theoretical arrival time lies ahead.

use std::num::NonZeroU64;
use std::time::Duration;

/// Levels count in billionths of a unit, so that a rate a second and a time in nanoseconds multiply exactly.
const UNIT: u128 = 1_000_000_000;

/// Units a second, and how many may come at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub per_second: NonZeroU64,
    pub burst: NonZeroU64,
}

/// Empty when new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bucket {
    level: u128,
    /// When the level was true.
    at: Duration,
}

impl Bucket {
    /// The level at `now`; a clock that went back drains nothing.
    fn level(self, rate: Rate, now: Duration) -> u128 {
        let passed = now.saturating_sub(self.at).as_nanos();
        self.level.saturating_sub(passed.saturating_mul(rate.per_second.get().into()))
    }

    fn size(rate: Rate) -> u128 {
        u128::from(rate.burst.get()) * UNIT
    }

    /// Takes one unit; what is left of the burst, or how long until one fits.
    pub fn take(&mut self, rate: Rate, now: Duration) -> Result<u64, Duration> {
        let level = self.level(rate, now) + UNIT;
        match Self::size(rate).checked_sub(level) {
            Some(room) => {
                *self = Self { level, at: now.max(self.at) };
                Ok(u64::try_from(room / UNIT).unwrap_or(u64::MAX))
            }
            None => Err(until_drained(level - Self::size(rate), rate)),
        }
    }

    /// Whether anything fits; how long until it does, if not.
    pub fn has_room(self, rate: Rate, now: Duration) -> Result<(), Duration> {
        match (self.level(rate, now) + 1).checked_sub(Self::size(rate)) {
            None | Some(0) => Ok(()),
            Some(over) => Err(until_drained(over, rate)),
        }
    }

    /// Notes what was used without asking; it is made good before anything fits again.
    pub fn charge(&mut self, units: u64, rate: Rate, now: Duration) {
        let level = self.level(rate, now).saturating_add(u128::from(units) * UNIT);
        *self = Self { level, at: now.max(self.at) };
    }

    /// Whether it is like new, so that it may be forgotten.
    pub fn is_empty(self, rate: Rate, now: Duration) -> bool {
        self.level(rate, now) == 0
    }
}

/// Rounded up: who comes when he was told to is let in.
fn until_drained(over: u128, rate: Rate) -> Duration {
    Duration::from_nanos(u64::try_from(over.div_ceil(rate.per_second.get().into())).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(per_second: u64, burst: u64) -> Rate {
        Rate { per_second: NonZeroU64::new(per_second).unwrap(), burst: NonZeroU64::new(burst).unwrap() }
    }

    #[test]
    fn a_burst_and_then_the_rate_to_the_nanosecond() {
        let (rate, mut bucket) = (rate(3, 2), Bucket::default());
        let begun = Duration::from_secs(7);
        assert_eq!((bucket.take(rate, begun), bucket.take(rate, begun)), (Ok(1), Ok(0)));
        let wait = bucket.take(rate, begun).unwrap_err();
        assert_eq!(wait, Duration::from_nanos(333_333_334));
        assert!(bucket.take(rate, begun + wait - Duration::from_nanos(1)).is_err());
        assert_eq!(bucket.take(rate, begun + wait), Ok(0));
    }

    /// However it is asked, no window holds more than its burst and its rate, and not one less is given.
    #[test]
    fn exactly_what_is_allowed_passes_in_every_window() {
        for (per_second, burst, step) in [(7, 3, 1_000_003), (1_000, 1, 999_999), (999_983, 50, 7_919)] {
            let (rate, mut bucket, mut passed) = (rate(per_second, burst), Bucket::default(), 0u128);
            for turn in 0..200_000u64 {
                let now = Duration::from_nanos(turn * step);
                if bucket.take(rate, now).is_ok() {
                    passed += 1;
                }
                let most = u128::from(burst) + now.as_nanos() * u128::from(per_second) / UNIT;
                assert!(passed <= most, "{passed} of {most} at {now:?}");
                // Asked more often than it allows, it gives all of it; a burst of one ends with the question before.
                let behind = most - passed;
                let is_asked_enough = burst > 1 && u128::from(step) * u128::from(per_second) < UNIT;
                assert!(!is_asked_enough || turn < burst || behind <= 1, "{behind} too few at {now:?}");
            }
        }
    }

    #[test]
    fn what_was_used_unasked_is_made_good_first() {
        let (rate, mut bucket) = (rate(1_000_000, 500_000), Bucket::default());
        bucket.charge(1_500_000, rate, Duration::ZERO);
        let wait = bucket.has_room(rate, Duration::ZERO).unwrap_err();
        assert_eq!(wait, Duration::from_nanos(1_000_000_001));
        assert_eq!(bucket.has_room(rate, wait), Ok(()));
        assert!(!bucket.is_empty(rate, wait) && bucket.is_empty(rate, Duration::from_millis(1_500)));
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing() {
        let (rate, mut bucket) = (rate(1, 1), Bucket::default());
        assert!(bucket.take(rate, Duration::from_secs(10)).is_ok());
        assert!(bucket.take(rate, Duration::from_secs(5)).is_err());
        assert!(bucket.take(rate, Duration::from_secs(10)).is_err());
        assert!(bucket.take(rate, Duration::from_secs(11)).is_ok());
    }

    #[test]
    fn the_largest_numbers_do_not_wrap() {
        let (rate, mut bucket) = (rate(u64::MAX, u64::MAX), Bucket::default());
        bucket.charge(u64::MAX, rate, Duration::MAX);
        bucket.charge(u64::MAX, rate, Duration::MAX);
        assert!(bucket.has_room(rate, Duration::MAX).is_err());
    }
}
