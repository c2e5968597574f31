//! How many second tries a cell may cost: a fifth of its requests, and ten a second besides.
//!
//! Without a bound, a cell in trouble gets twice its load from the router alone. Pure: the clock is given.

use std::time::Duration;

use parking_lot::Mutex;

/// Thousandths of a try.
const EACH_REQUEST: u64 = 200;
const EACH_SECOND: u64 = 10_000;
/// What may be saved up: a cell that restarts breaks every request under way at the same moment.
const MOST: u64 = 1_000_000;
/// Cells that share a purse share their luck; a power of two, far above the cells of one router.
const PURSES: usize = 1024;

#[derive(Debug)]
pub struct Retries(Box<[Mutex<Purse>]>);

#[derive(Debug, Clone, Copy)]
struct Purse {
    held: u64,
    at: Duration,
}

impl Default for Retries {
    fn default() -> Self {
        Self((0..PURSES).map(|_| Mutex::new(Purse { held: MOST, at: Duration::ZERO })).collect())
    }
}

impl Retries {
    /// A request goes to the cell for the first time. `cell` is any well-mixed number of its own.
    pub fn earn(&self, cell: u64) {
        if let Some(purse) = self.purse(cell) {
            let mut purse = purse.lock();
            purse.held = (purse.held + EACH_REQUEST).min(MOST);
        }
    }

    /// Whether one more try may be made.
    pub fn take(&self, cell: u64, now: Duration) -> bool {
        let Some(purse) = self.purse(cell) else { return false };
        let mut purse = purse.lock();
        let passed = u64::try_from(now.saturating_sub(purse.at).as_millis()).unwrap_or(u64::MAX);
        purse.held = purse.held.saturating_add(passed.saturating_mul(EACH_SECOND / 1000)).min(MOST);
        purse.at = purse.at.max(now);
        match purse.held.checked_sub(1000) {
            Some(left) => {
                purse.held = left;
                true
            }
            None => false,
        }
    }

    fn purse(&self, cell: u64) -> Option<&Mutex<Purse>> {
        self.0.get(usize::try_from(cell % PURSES as u64).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spent(now: Duration) -> Retries {
        let retries = Retries::default();
        for _ in 0..MOST / 1000 {
            assert!(retries.take(7, now));
        }
        assert!(!retries.take(7, now));
        retries
    }

    #[test]
    fn a_fifth_of_the_requests_may_be_tried_again() {
        let now = Duration::from_secs(1_000);
        let retries = spent(now);
        for _ in 0..100 {
            retries.earn(7);
        }
        assert_eq!((0..100).filter(|_| retries.take(7, now)).count(), 20);
    }

    #[test]
    fn ten_a_second_besides_and_never_more_than_may_be_saved() {
        let now = Duration::from_secs(1_000);
        let retries = spent(now);
        let later = now + Duration::from_millis(1_500);
        assert_eq!((0..100).filter(|_| retries.take(7, later)).count(), 15);
        let much_later = now + Duration::from_secs(1_000_000);
        assert_eq!((0..5_000).filter(|_| retries.take(7, much_later)).count(), 1_000);
        // A clock read earlier by another thread gives nothing twice.
        assert!(!retries.take(7, now));
        assert!(!retries.take(7, much_later));
    }

    #[test]
    fn a_cell_that_has_spent_its_own_takes_none_of_anothers() {
        let retries = spent(Duration::ZERO);
        assert!(retries.take(8, Duration::ZERO));
    }
}
