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
    /// Somebody waits for what is on the topic: a tenant that is leaving.
    pub wanted: bool,
}

impl Waiting {
    /// An old or a full round is due. In a pause it is due earlier, if that makes neither small files
    /// nor more commits than the round's age would.
    pub fn is_due(&self, settings: &Settings) -> bool {
        let interval = Duration::from_millis(settings.commit_millis);
        let full = self.rows >= settings.commit_rows || self.bytes >= settings.commit_bytes;
        let pause = self.quiet && (self.rows >= settings.quiet_rows || self.since_commit >= interval);
        full || self.age >= interval || pause || self.wanted
    }
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
        wanted: false,
    };

    #[test]
    fn rows_that_somebody_waits_for_are_due() {
        assert!(Waiting { wanted: true, ..FRESH }.is_due(&Settings::default()));
    }

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
