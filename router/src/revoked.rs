//! Revoked sessions.

use std::collections::HashMap;

use contracts::claims::Revocation;
use serde::{Deserialize, Serialize};

/// Most sessions remembered at once: 15 minutes of 1,000 revocations a second.
const MAX_SESSIONS: usize = 1_000_000;

/// The sessions whose tokens are no longer good, and how far the feed was read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// Position in the feed.
    pub seq: u64,
    /// Second after which an entry may be forgotten, by session.
    until: HashMap<String, i64>,
}

impl Revoked {
    /// Takes one revocation. `false` when there is no room for it.
    pub fn add(&mut self, revocation: Revocation) -> bool {
        let known = self.until.contains_key(&revocation.sid);
        if !known && self.until.len() >= MAX_SESSIONS {
            return false;
        }
        let until = self.until.entry(revocation.sid).or_insert(revocation.until);
        *until = revocation.until.max(*until);
        self.seq = self.seq.max(revocation.seq);
        true
    }

    pub fn holds(&self, sid: &str, now: i64) -> bool {
        self.until.get(sid).is_some_and(|until| *until >= now)
    }

    /// Forgets entries whose tokens have all expired.
    pub fn forget(&mut self, now: i64) {
        self.until.retain(|_, until| *until >= now);
    }

    pub fn len(&self) -> usize {
        self.until.len()
    }

    pub fn is_empty(&self) -> bool {
        self.until.is_empty()
    }

    /// Reads a snapshot's payload.
    pub fn read(payload: &[u8]) -> Result<Self, String> {
        let read: Self = serde_json::from_slice(payload).map_err(|e| e.to_string())?;
        if read.until.len() > MAX_SESSIONS { Err("more sessions than the bound".into()) } else { Ok(read) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_stays_revoked_until_its_last_token_has_expired() {
        let mut revoked = Revoked::default();
        revoked.add(Revocation { seq: 4, sid: "s".into(), until: 100 });
        revoked.add(Revocation { seq: 3, sid: "s".into(), until: 50 });
        assert_eq!(revoked.seq, 4);
        assert!(revoked.holds("s", 100));
        assert!(!revoked.holds("s", 101));
        revoked.forget(100);
        assert_eq!(revoked.len(), 1);
        revoked.forget(101);
        assert!(revoked.is_empty());
        let payload = serde_json::to_vec(&revoked).unwrap();
        assert_eq!(Revoked::read(&payload), Ok(revoked));
    }
}
