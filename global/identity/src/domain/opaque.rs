//! Opaque secrets: `<prefix>_<id>_<secret>`, where only a keyed hash of the secret is stored.
//!
//! The secret has 256 random bits, so one fast keyed hash is enough; slow hashes are for passwords.

use contracts::key_cards;
use subtle::ConstantTimeEq as _;
use uuid::Uuid;

pub const SECRET_BYTES: usize = 32;

/// What an opaque secret is for. The prefix lets secret scanners find a leaked one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    ApiKey,
    Refresh,
    Device,
}

impl Purpose {
    fn prefix(self) -> &'static str {
        match self {
            Purpose::ApiKey => "ck",
            Purpose::Refresh => "cr",
            Purpose::Device => "cd",
        }
    }
}

/// An opaque secret in the clear; lives only from its making to the answer, or during a check.
#[derive(Clone, PartialEq, Eq)]
pub struct Opaque {
    pub purpose: Purpose,
    pub id: Uuid,
    secret: [u8; SECRET_BYTES],
}

impl std::fmt::Debug for Opaque {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opaque").field("purpose", &self.purpose).field("id", &self.id).finish_non_exhaustive()
    }
}

impl Opaque {
    pub fn new(purpose: Purpose, id: Uuid, secret: [u8; SECRET_BYTES]) -> Self {
        Self { purpose, id, secret }
    }

    pub fn parse(purpose: Purpose, text: &str) -> Option<Self> {
        let (id, secret) = key_cards::parts(purpose.prefix(), text)?;
        Some(Self { purpose, id, secret })
    }

    /// The text that is shown once.
    pub fn reveal(&self) -> String {
        format!("{}_{}_{}", self.purpose.prefix(), self.id.simple(), hex::encode(self.secret))
    }

    /// Enough of an API key to recognise it in a list. The last digits of a v7 id are random.
    pub fn hint(&self) -> String {
        let id = self.id.simple().to_string();
        format!("{}_…{}", self.purpose.prefix(), &id[id.len() - 8..])
    }

    pub fn hash(&self, pepper: &Pepper) -> [u8; 32] {
        pepper.hash(self.purpose.prefix(), &self.secret)
    }

    /// What a card says of the secret.
    pub fn digest(&self) -> String {
        key_cards::digest(&self.secret)
    }

    /// In constant time.
    pub fn matches(&self, pepper: &Pepper, hash: &[u8]) -> bool {
        self.hash(pepper).as_slice().ct_eq(hash).into()
    }
}

/// Key of the stored hashes: a copy of the database alone confirms no guess.
#[derive(Clone)]
pub struct Pepper([u8; 32]);

impl std::fmt::Debug for Pepper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pepper")
    }
}

impl Pepper {
    /// Derived from the site's seal key, for this use alone.
    pub fn derive(seal_key: &str) -> Self {
        Self(blake3::derive_key("cytoplane identity stored hashes v1", seal_key.as_bytes()))
    }

    pub fn hash(&self, what: &str, bytes: &[u8]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(what.as_bytes()).update(&[0]).update(bytes);
        *hasher.finalize().as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_opaque_secret_reads_back_only_for_its_purpose() {
        let key = Opaque::new(Purpose::ApiKey, Uuid::from_u128(7), [9; 32]);
        let text = key.reveal();
        assert_eq!(Opaque::parse(Purpose::ApiKey, &text), Some(key.clone()));
        assert_eq!(Opaque::parse(Purpose::Refresh, &text), None);
        assert_eq!(Opaque::parse(Purpose::ApiKey, &text[..text.len() - 2]), None);
        assert!(!format!("{key:?}").contains("0909"));
    }

    #[test]
    fn a_hash_is_bound_to_the_pepper_and_the_purpose() {
        let (pepper, other) = (Pepper::derive("a"), Pepper::derive("b"));
        let key = Opaque::new(Purpose::ApiKey, Uuid::nil(), [1; 32]);
        let refresh = Opaque::new(Purpose::Refresh, Uuid::nil(), [1; 32]);
        assert!(key.matches(&pepper, &key.hash(&pepper)));
        assert!(!key.matches(&other, &key.hash(&pepper)));
        assert!(!refresh.matches(&pepper, &key.hash(&pepper)));
        assert!(!key.matches(&pepper, b""));
    }
}
