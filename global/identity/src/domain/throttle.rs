//! How often signing in may fail.

use time::{Duration, OffsetDateTime};

/// Failures counted for one key (an account, an address, or both together).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failures {
    pub count: i32,
    pub window_started: OffsetDateTime,
}

/// How long to wait, if the limit is reached.
pub fn blocked_for(failures: Failures, limit: i32, window: Duration, now: OffsetDateTime) -> Option<Duration> {
    let left = failures.window_started + window - now;
    (failures.count >= limit && left.is_positive()).then_some(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_ends_with_its_window() {
        let start = OffsetDateTime::UNIX_EPOCH;
        let failures = Failures { count: 5, window_started: start };
        let blocked =
            |limit, seconds| blocked_for(failures, limit, Duration::MINUTE, start + Duration::seconds(seconds));
        assert_eq!(blocked(5, 20), Some(Duration::seconds(40)));
        assert_eq!(blocked(6, 20), None);
        assert_eq!(blocked(5, 60), None);
    }
}
