//! The signing keys in memory: signs tokens and documents, publishes the public halves.

use std::sync::{Arc, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use contracts::Claims;
use contracts::claims::{AUDIENCE_GLOBAL, ISSUER};
use contracts::key_cards::Card;
use ed25519_dalek::pkcs8::EncodePrivateKey as _;
use ed25519_dalek::{Signer as _, SigningKey};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use kit::seal::Sealer;
use kit::token::Verifier;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::domain::key::KeyState;
use crate::error::Error;
use crate::random;
use crate::store::keys::StoredKey;

/// What the seal of a private key is bound to.
const SEAL_PURPOSE: &str = "identity/signing-key/v1";

/// A signature with the id of its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    pub kid: String,
    /// Base64, URL-safe, no padding.
    pub signature: String,
}

struct Keys {
    current: Option<(String, SigningKey, EncodingKey)>,
    jwks: Value,
}

/// Cheap to clone; all clones see a rotation at the same time.
#[derive(Clone)]
pub struct Ring {
    keys: Arc<RwLock<Arc<Keys>>>,
    verifier: Arc<Verifier>,
    sealer: Sealer,
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ring")
    }
}

/// RFC 7638 thumbprint of an Ed25519 public key: the same key always has the same id.
pub fn thumbprint(public: &[u8]) -> String {
    let canonical = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, URL_SAFE_NO_PAD.encode(public));
    URL_SAFE_NO_PAD.encode(Sha256::digest(canonical.as_bytes()))
}

fn jwk(key: &StoredKey) -> Value {
    json!({
        "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA",
        "kid": key.kid, "x": URL_SAFE_NO_PAD.encode(&key.public),
    })
}

impl Ring {
    pub fn new(sealer: Sealer) -> Self {
        let keys = Keys { current: None, jwks: json!({ "keys": [] }) };
        Self { keys: Arc::new(RwLock::new(Arc::new(keys))), verifier: Verifier::new(AUDIENCE_GLOBAL), sealer }
    }

    /// A new key, sealed for the database.
    pub fn generate(&self, state: KeyState, now: time::OffsetDateTime) -> Result<StoredKey, Error> {
        let seed = random::bytes::<32>()?;
        let public = SigningKey::from_bytes(&seed).verifying_key().to_bytes().to_vec();
        let sealed = self.sealer.seal(SEAL_PURPOSE, &seed).map_err(Error::Sealed)?;
        let signs_since = (state == KeyState::Current).then_some(now);
        let (kid, state) = (thumbprint(&public), state.name().to_owned());
        Ok(StoredKey { kid, state, public, sealed, created_at: now, retired_at: None, signs_since })
    }

    /// Replaces what is in memory by what the database holds.
    pub fn load(&self, stored: &[StoredKey]) -> Result<(), Error> {
        let mut current = None;
        for key in stored.iter().filter(|k| k.state == KeyState::Current.name()) {
            let seed = self.sealer.open(SEAL_PURPOSE, &key.sealed).map_err(Error::Sealed)?;
            let seed: [u8; 32] = seed.try_into().map_err(|_| Error::Broken("a signing key has the wrong length"))?;
            let signing = SigningKey::from_bytes(&seed);
            let der = signing.to_pkcs8_der().map_err(|_| Error::Broken("a signing key cannot be encoded"))?;
            current = Some((key.kid.clone(), signing, EncodingKey::from_ed_der(der.as_bytes())));
        }
        let jwks = json!({ "keys": stored.iter().map(jwk).collect::<Vec<_>>() });
        let set: JwkSet =
            serde_json::from_value(jwks.clone()).map_err(|_| Error::Broken("the key set is not readable"))?;
        if !self.verifier.set_keys(&set) {
            return Err(Error::Broken("the key set has no key"));
        }
        let mut slot = self.keys.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        *slot = Arc::new(Keys { current, jwks });
        Ok(())
    }

    fn keys(&self) -> Arc<Keys> {
        self.keys.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    pub fn jwks(&self) -> Value {
        self.keys().jwks.clone()
    }

    /// Whether there is a key to sign with.
    pub fn ready(&self) -> bool {
        self.keys().current.is_some()
    }

    pub fn mint(&self, claims: &Claims) -> Result<String, Error> {
        self.encode("at+jwt", claims)
    }

    pub fn mint_card(&self, card: &Card) -> Result<String, Error> {
        self.encode("key-card+jwt", card)
    }

    fn encode(&self, kind: &str, claims: &impl serde::Serialize) -> Result<String, Error> {
        let keys = self.keys();
        let (kid, _, key) = keys.current.as_ref().ok_or(Error::Broken("there is no signing key"))?;
        let header = Header { typ: Some(kind.to_owned()), kid: Some(kid.clone()), ..Header::new(Algorithm::EdDSA) };
        jsonwebtoken::encode(&header, claims, key).map_err(|_| Error::Broken("a token could not be signed"))
    }

    pub fn sign(&self, document: &[u8]) -> Result<Signature, Error> {
        let keys = self.keys();
        let (kid, key, _) = keys.current.as_ref().ok_or(Error::Broken("there is no signing key"))?;
        Ok(Signature { kid: kid.clone(), signature: URL_SAFE_NO_PAD.encode(key.sign(document).to_bytes()) })
    }

    /// The session of a token of ours, whatever its audience and age; `None` if it is not ours.
    pub fn session_of(&self, token: &str) -> Option<uuid::Uuid> {
        let kid = jsonwebtoken::decode_header(token).ok()?.kid?;
        let set: JwkSet = serde_json::from_value(self.jwks()).ok()?;
        let key = DecodingKey::from_jwk(set.find(&kid)?).ok()?;
        let mut rules = Validation::new(Algorithm::EdDSA);
        rules.validate_exp = false;
        rules.validate_aud = false;
        rules.set_issuer(&[ISSUER]);
        jsonwebtoken::decode::<Claims>(token, &key, &rules).ok()?.claims.sid.parse().ok()
    }

    /// Verifies tokens for the global plane.
    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }
}
