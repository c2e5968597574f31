//! Sessions and refresh tokens: how long they live, and what a second use means.

use time::OffsetDateTime;

/// What is known of the session behind a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionAge {
    pub expires_at: OffsetDateTime,
    pub revoked: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refresh {
    /// Good: mark it used and hand out its successor.
    Rotate,
    /// Used before: a copy is in other hands. The whole session ends.
    Stolen,
    Ended,
}

/// Reuse is looked at before expiry, so that a thief's copy is never mistaken for a slow client.
pub fn decide_refresh(used: bool, session: SessionAge, now: OffsetDateTime) -> Refresh {
    match (session.revoked || now >= session.expires_at, used) {
        (false, false) => Refresh::Rotate,
        (false, true) => Refresh::Stolen,
        (true, _) => Refresh::Ended,
    }
}

/// A token never outlives its session. Seconds since the epoch.
pub fn token_expiry(now: i64, token_seconds: i64, session_expires: i64) -> i64 {
    (now + token_seconds).min(session_expires)
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::Duration;

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    #[test]
    fn a_refresh_token_is_good_once() {
        let live = SessionAge { expires_at: NOW + Duration::HOUR, revoked: false };
        assert_eq!(decide_refresh(false, live, NOW), Refresh::Rotate);
        assert_eq!(decide_refresh(true, live, NOW), Refresh::Stolen);
        assert_eq!(decide_refresh(false, SessionAge { revoked: true, ..live }, NOW), Refresh::Ended);
        assert_eq!(decide_refresh(false, SessionAge { expires_at: NOW, ..live }, NOW), Refresh::Ended);
    }

    #[test]
    fn a_token_ends_with_its_session() {
        assert_eq!(token_expiry(1000, 900, 100_000), 1900);
        assert_eq!(token_expiry(1000, 900, 1500), 1500);
    }
}
