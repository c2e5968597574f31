//! Sealed tokens: tickets, handles and page tokens that only this cell can open.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use rand::TryRngCore as _;

use crate::Secret;

/// The token was not made by this cell, for this purpose, or was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error("the sealed token is not valid here")]
    NotOurs,
    #[error("the seal key must be 32 bytes in hex")]
    Key,
    #[error("no randomness could be had")]
    Randomness,
}

const NONCE_BYTES: usize = 24;

/// XChaCha20-Poly1305 with a random nonce; the purpose is authenticated with the text, so a page
/// token can never be passed off as a ticket.
#[derive(Clone)]
pub struct Sealer(XChaCha20Poly1305);

impl Sealer {
    /// `key` is 64 hex digits, the same in every process of the cell.
    pub fn new(key: &Secret) -> Result<Self, SealError> {
        let bytes = hex::decode(key.expose()).map_err(|_| SealError::Key)?;
        if bytes.len() != 32 {
            return Err(SealError::Key);
        }
        Ok(Self(XChaCha20Poly1305::new(Key::from_slice(&bytes))))
    }

    pub fn seal(&self, purpose: &str, text: &[u8]) -> Result<String, SealError> {
        let mut nonce = [0u8; NONCE_BYTES];
        rand::rngs::OsRng.try_fill_bytes(&mut nonce).map_err(|_| SealError::Randomness)?;
        let payload = Payload { msg: text, aad: purpose.as_bytes() };
        let sealed = self.0.encrypt(XNonce::from_slice(&nonce), payload).map_err(|_| SealError::NotOurs)?;
        Ok(URL_SAFE_NO_PAD.encode([nonce.as_slice(), &sealed].concat()))
    }

    pub fn open(&self, purpose: &str, token: &str) -> Result<Vec<u8>, SealError> {
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| SealError::NotOurs)?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_BYTES).ok_or(SealError::NotOurs)?;
        let payload = Payload { msg: sealed, aad: purpose.as_bytes() };
        self.0.decrypt(XNonce::from_slice(nonce), payload).map_err(|_| SealError::NotOurs)
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_only_for_its_purpose_and_unchanged() {
        let sealer = Sealer::new(&Secret::new("ab".repeat(32))).unwrap();
        let token = sealer.seal("ticket", b"select 1").unwrap();
        assert_eq!(sealer.open("ticket", &token).unwrap(), b"select 1");
        assert_eq!(sealer.open("page", &token), Err(SealError::NotOurs));
        assert_eq!(sealer.open("ticket", &token[1..]), Err(SealError::NotOurs));
        let other = Sealer::new(&Secret::new("cd".repeat(32))).unwrap();
        assert_eq!(other.open("ticket", &token), Err(SealError::NotOurs));
    }
}
