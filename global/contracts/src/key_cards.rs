//! API keys at a cell's door: a signed card says what a key may do (docs/adr/0020-api-keys-at-the-door.md).

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use uuid::Uuid;

use crate::Claims;

/// What every API key begins with; the rest is its id and 256 random bits, in hex.
pub const PREFIX: &str = "ck_";
/// `aud` of a card: it is no token, and no token is a card.
pub const AUDIENCE: &str = "cytoplane:key-card";
/// Longest life of a card, in seconds.
pub const MAX_SECONDS: i64 = 24 * 3600;

/// `<purpose>_<id>_<secret>`, both in hex: how every opaque secret is written.
pub fn parts(purpose: &str, text: &str) -> Option<(Uuid, [u8; 32])> {
    let (id, secret) = text.strip_prefix(purpose)?.strip_prefix('_')?.split_once('_')?;
    Some((Uuid::try_parse(id).ok()?, hex::decode(secret).ok()?.try_into().ok()?))
}

/// An API key in the clear.
pub struct ApiKey {
    pub id: Uuid,
    secret: [u8; 32],
}

impl ApiKey {
    pub fn parse(text: &str) -> Option<Self> {
        let (id, secret) = parts(PREFIX.strip_suffix('_')?, text)?;
        Some(Self { id, secret })
    }

    /// Whether a card says this key's digest. In constant time: how much of it fits is not told.
    pub fn is_of(&self, said: &str) -> bool {
        digest(&self.secret).as_bytes().ct_eq(said.as_bytes()).into()
    }
}

/// What a card says of its key's secret. The secret has 256 random bits, so nobody finds it from here.
pub fn digest(secret: &[u8; 32]) -> String {
    let mut hasher = Sha256::new();
    hasher.update(b"cytoplane api key v1\0");
    hasher.update(secret);
    hex::encode(hasher.finalize())
}

/// What a card says: the claims of whoever has the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    #[serde(flatten)]
    pub claims: Claims,
    pub key: Uuid,
    /// Of the key's secret; see [`digest`].
    pub dig: String,
}

/// One line of the feed: the newest card of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CardLine {
    /// Position in the feed; grows.
    pub seq: u64,
    pub key: Uuid,
    /// EdDSA JWT of a [`Card`].
    pub card: String,
    /// The second at which it expires.
    pub until: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_and_nothing_else_does() {
        let (id, secret) = (Uuid::from_u128(7), [9; 32]);
        let text = format!("ck_{}_{}", id.simple(), hex::encode(secret));
        let key = ApiKey::parse(&text).unwrap();
        assert!(key.id == id && key.is_of(&digest(&secret)));
        assert!(!key.is_of(&digest(&[8; 32])) && !key.is_of(""));
        for wrong in ["", "ck_", "ck", &text[1..], &text[..text.len() - 1], &format!("{text}0"), &format!("{text}_1")] {
            assert!(ApiKey::parse(wrong).is_none(), "{wrong}");
        }
        assert!(ApiKey::parse(&text.replacen("ck", "cr", 1)).is_none());
    }
}
