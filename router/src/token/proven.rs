//! Tokens whose signature was found right, so that the next request with the same one need not pay for it again.
//!
//! Invariants: what is remembered belongs to one key set and is gone with it; only signatures are remembered, so that
//! lifetime, audience and revocation are judged each time; nobody without a good token can put anything in.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use contracts::Claims;
use parking_lot::Mutex;

use crate::lately::Lately;

const SHARDS: usize = 16;
/// Tokens of one generation in one shard; twice as many are kept, of 1 KiB each: 64 MiB altogether.
const PER_SHARD: usize = 2_048;

/// What a token with a right signature says.
#[derive(Debug, PartialEq, Eq)]
pub struct Content {
    pub claims: Claims,
    pub not_before: Option<i64>,
    /// Of a card: what it says of its key's secret.
    pub digest: Option<String>,
}

#[derive(Debug)]
pub(super) struct Proven {
    hasher: RandomState,
    shards: [Mutex<Lately<Arc<Content>>>; SHARDS],
}

impl Default for Proven {
    fn default() -> Self {
        Self { hasher: RandomState::new(), shards: std::array::from_fn(|_| Mutex::new(Lately::new(PER_SHARD))) }
    }
}

impl Proven {
    fn shard(&self, token: &str) -> Option<&Mutex<Lately<Arc<Content>>>> {
        self.shards.get((self.hasher.hash_one(token) % SHARDS as u64) as usize)
    }

    pub(super) fn get(&self, token: &str) -> Option<Arc<Content>> {
        self.shard(token)?.lock().get(token)
    }

    pub(super) fn put(&self, token: &str, content: Arc<Content>) {
        if let Some(shard) = self.shard(token) {
            shard.lock().put(token.into(), content);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::tests::claims;

    #[test]
    fn what_is_remembered_is_bounded_and_what_is_used_stays() {
        let proven = Proven::default();
        let content = Arc::new(Content { claims: claims("acme"), not_before: None, digest: None });
        proven.put("used", Arc::clone(&content));
        for number in 0..200_000 {
            proven.put(&format!("token-{number}"), Arc::clone(&content));
            assert!(proven.get("used").is_some(), "{number}");
        }
        let kept = proven.shards.iter().map(Mutex::lock).map(|shard| shard.len()).sum();
        assert!((SHARDS * PER_SHARD..=2 * SHARDS * PER_SHARD).contains::<usize>(&kept), "{kept}");
        assert!(proven.get("token-0").is_none());
    }
}
