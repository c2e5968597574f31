//! When a round is committed. Pure.

use std::time::Duration;

use crate::config::Settings;

/// A round that waits for its commit.
#[derive(Debug, Clone, Copy)]
pub struct Waiting {
    pub rows: usize,
    pub bytes: usize,
    /// Since its oldest row was read.
    pub age: Duration,
    /// Nothing came while the last read waited.
    pub quiet: bool,
    /// Since the commit before.
    pub since_commit: Duration,
}

impl Waiting {
    /// An old or a full round is due. In a pause it is due earlier, if that makes neither small files
    /// nor more commits than the round's age would.
    pub fn is_due(&self, settings: &Settings) -> bool {
        let interval = Duration::from_millis(settings.commit_millis);
        let pause = self.quiet && (self.rows >= settings.quiet_rows || self.since_commit >= interval);
        is_full(self.rows, self.bytes, settings) || self.age >= interval || pause
    }
}

/// No more is read before it is committed.
pub fn is_full(rows: usize, bytes: usize, settings: &Settings) -> bool {
    rows >= settings.commit_rows || bytes >= settings.commit_bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRESH: Waiting = Waiting {
        rows: 1,
        bytes: 80,
        age: Duration::from_millis(10),
        quiet: false,
        since_commit: Duration::from_millis(500),
    };

    #[test]
    fn rows_that_still_come_wait_for_the_others() {
        let settings = Settings::default();
        assert!(!FRESH.is_due(&settings));
        assert!(!Waiting { since_commit: Duration::from_secs(60), ..FRESH }.is_due(&settings));
        assert!(Waiting { age: Duration::from_secs(2), ..FRESH }.is_due(&settings));
        assert!(Waiting { rows: settings.commit_rows, ..FRESH }.is_due(&settings));
        assert!(Waiting { bytes: settings.commit_bytes, ..FRESH }.is_due(&settings));
    }

    #[test]
    fn a_pause_makes_no_more_commits_than_the_interval_or_large_ones() {
        let settings = Settings::default();
        let quiet = Waiting { quiet: true, ..FRESH };
        assert!(!quiet.is_due(&settings));
        assert!(Waiting { since_commit: Duration::from_secs(2), ..quiet }.is_due(&settings));
        assert!(Waiting { rows: settings.quiet_rows, ..quiet }.is_due(&settings));
    }
}
