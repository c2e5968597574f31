//! Tokens: EdDSA JWTs, verified against the keys held, at a time given by the caller.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use contracts::Claims;
use contracts::claims::{ISSUER, MAX_TOKEN_SECONDS};
use ed25519_dalek::{Signature, VerifyingKey};
use serde::Deserialize;

use crate::revoked::Revoked;

mod api_key;
mod proven;

pub use api_key::verify_key;
pub use proven::Content;
use proven::Proven;

/// Longest token accepted, in bytes; ours are below 1 KiB.
const MAX_TOKEN: usize = 8 * 1024;
const MAX_KEYS: usize = 64;

/// Why a token is not good. The text never holds any part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("the token is malformed")]
    Malformed,
    #[error("the token is not signed with EdDSA")]
    Algorithm,
    #[error("the token's key is not known")]
    UnknownKey,
    #[error("the token's signature is wrong")]
    Signature,
    #[error("the token has another issuer")]
    Issuer,
    #[error("the token is for another audience")]
    Audience,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    NotYet,
    #[error("the token's life is longer than allowed")]
    TooLong,
    #[error("the token's session was revoked")]
    Revoked,
    #[error("the API key is not known")]
    UnknownApiKey {
        /// By its id it was made just now: its card may be on the way.
        is_new: bool,
    },
}

/// Why a document is not taken for identity's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    #[error("the key of its signature is not known")]
    UnknownKey,
    #[error("its signature is wrong")]
    Signature,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    #[error("it is not a key set: {0}")]
    Shape(String),
    #[error("it holds no usable key")]
    Empty,
    #[error("it holds too many keys")]
    TooMany,
}

/// The public keys of identity, by key id, and the tokens that were found to be signed with them.
#[derive(Debug, Default)]
pub struct Keys {
    by_id: HashMap<String, VerifyingKey>,
    proven: Proven,
}

#[derive(Deserialize)]
struct Jwks {
    keys: Vec<Jwk>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(default)]
    crv: String,
    #[serde(default)]
    kid: String,
    #[serde(default)]
    x: String,
    #[serde(rename = "use")]
    usage: Option<String>,
}

impl Keys {
    /// Reads an RFC 7517 key set. Keys of other kinds are passed over; a set without one Ed25519
    /// signing key is refused, because it would turn every caller away.
    pub fn read(json: &[u8]) -> Result<Self, KeysError> {
        let set: Jwks = serde_json::from_slice(json).map_err(|e| KeysError::Shape(e.to_string()))?;
        if set.keys.len() > MAX_KEYS {
            return Err(KeysError::TooMany);
        }
        let mut by_id = HashMap::new();
        for key in set.keys {
            let signing = key.usage.as_deref().is_none_or(|usage| usage == "sig");
            if key.kty != "OKP" || key.crv != "Ed25519" || key.kid.is_empty() || !signing {
                continue;
            }
            let point = URL_SAFE_NO_PAD.decode(&key.x).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
            let verifying = point.and_then(|point| VerifyingKey::from_bytes(&point).ok());
            match verifying {
                Some(verifying) if !verifying.is_weak() => by_id.insert(key.kid, verifying),
                _ => return Err(KeysError::Shape(format!("key {:?} is not an Ed25519 point", key.kid))),
            };
        }
        if by_id.is_empty() {
            return Err(KeysError::Empty);
        }
        Ok(Self { by_id, proven: Proven::default() })
    }

    /// Whether one of the keys signed the document; `signature` is base64 (URL-safe, no padding).
    pub fn prove_document(&self, kid: &str, document: &[u8], signature: &str) -> Result<(), Unproven> {
        let key = self.by_id.get(kid).ok_or(Unproven::UnknownKey)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Unproven::Signature)?;
        let signature = Signature::from_slice(&signature).map_err(|_| Unproven::Signature)?;
        key.verify_strict(document, &signature).map_err(|_| Unproven::Signature)
    }

    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: String,
    #[serde(default)]
    crit: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Beside {
    nbf: Option<i64>,
    dig: Option<String>,
}

/// What a token is checked against.
#[derive(Clone, Copy)]
pub struct Check<'a> {
    pub keys: &'a Keys,
    pub revoked: &'a Revoked,
    pub audience: &'a str,
    /// Seconds since 1970.
    pub now: i64,
    pub leeway: i64,
}

/// The content of a good token.
pub fn verify(token: &str, check: Check<'_>) -> Result<Arc<Content>, TokenError> {
    let content = proven(token, check.keys)?;
    judge(&content, check.audience, MAX_TOKEN_SECONDS, check)?;
    Ok(content)
}

fn proven(token: &str, keys: &Keys) -> Result<Arc<Content>, TokenError> {
    if let Some(known) = keys.proven.get(token) {
        return Ok(known);
    }
    let content = Arc::new(prove(token, keys)?);
    keys.proven.put(token, Arc::clone(&content));
    Ok(content)
}

/// What a token says, if one of the keys signed it.
fn prove(token: &str, keys: &Keys) -> Result<Content, TokenError> {
    if token.len() > MAX_TOKEN {
        return Err(TokenError::Malformed);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
    let (header, payload) = signed.split_once('.').ok_or(TokenError::Malformed)?;
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed);

    let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| TokenError::Malformed)?;
    if header.alg != "EdDSA" {
        return Err(TokenError::Algorithm);
    }
    if header.crit.is_some() {
        return Err(TokenError::Malformed);
    }
    keys.prove_document(&header.kid, signed.as_bytes(), signature).map_err(|unproven| match unproven {
        Unproven::UnknownKey => TokenError::UnknownKey,
        Unproven::Signature => TokenError::Signature,
    })?;

    let payload = decode(payload)?;
    let claims: Claims = serde_json::from_slice(&payload).map_err(|_| TokenError::Malformed)?;
    let Beside { nbf, dig } = serde_json::from_slice(&payload).map_err(|_| TokenError::Malformed)?;
    Ok(Content { claims, not_before: nbf, digest: dig })
}

/// `longest` is in seconds.
fn judge(content: &Content, audience: &str, longest: i64, check: Check<'_>) -> Result<(), TokenError> {
    let Content { claims, not_before, .. } = content;
    let Check { now, leeway, .. } = check;
    if claims.iss != ISSUER {
        return Err(TokenError::Issuer);
    }
    if claims.aud != audience {
        return Err(TokenError::Audience);
    }
    if now.saturating_sub(leeway) >= claims.exp {
        return Err(TokenError::Expired);
    }
    let earliest = not_before.unwrap_or(claims.iat).max(claims.iat);
    if earliest > now.saturating_add(leeway) {
        return Err(TokenError::NotYet);
    }
    if claims.exp.saturating_sub(claims.iat) > longest {
        return Err(TokenError::TooLong);
    }
    if check.revoked.holds(&claims.sid, now) {
        return Err(TokenError::Revoked);
    }
    Ok(())
}

#[cfg(test)]
pub mod tests {
    use contracts::TenantId;
    use contracts::claims::{AUDIENCE_CELL, Revocation};
    use ed25519_dalek::{Signer, SigningKey};

    use super::*;

    pub const NOW: i64 = 1_800_000_000;

    pub fn key() -> SigningKey {
        SigningKey::from_bytes(&[7; 32])
    }

    pub fn keys() -> Keys {
        Keys::read(jwks(&key()).as_bytes()).unwrap()
    }

    fn jwks(key: &SigningKey) -> String {
        let x = URL_SAFE_NO_PAD.encode(key.verifying_key().as_bytes());
        format!(
            r#"{{"keys":[{{"kty":"RSA","kid":"r","n":"x","e":"AQAB"}},{{"kty":"OKP","crv":"Ed25519","use":"sig","alg":"EdDSA","kid":"k1","x":"{x}"}}]}}"#
        )
    }

    pub fn claims(tenant: &str) -> Claims {
        Claims {
            iss: ISSUER.into(),
            sub: "user-1".into(),
            tid: Some(TenantId::new(tenant).unwrap()),
            org: None,
            scp: "*".into(),
            grp: vec![],
            mrk: vec![],
            sid: "session-1".into(),
            aud: AUDIENCE_CELL.into(),
            iat: NOW - 10,
            exp: NOW + 600,
            jti: "j".into(),
        }
    }

    pub fn sign(claims: &impl serde::Serialize) -> String {
        sign_with(r#"{"alg":"EdDSA","kid":"k1"}"#, &serde_json::to_string(claims).unwrap(), &key())
    }

    fn sign_with(header: &str, payload: &str, key: &SigningKey) -> String {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let signature = URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()).to_bytes());
        format!("{signed}.{signature}")
    }

    fn outcome(token: &str) -> Result<Claims, TokenError> {
        let mut revoked = Revoked::default();
        revoked.add(Revocation { seq: 1, sid: "gone".into(), until: NOW + 900 });
        let keys = keys();
        let check = Check { keys: &keys, revoked: &revoked, audience: AUDIENCE_CELL, now: NOW, leeway: 5 };
        let (first, again) = (verify(token, check), verify(token, check));
        assert_eq!(first, again, "it was judged otherwise the second time");
        first.map(|content| content.claims.clone())
    }

    #[test]
    fn a_token_that_was_good_is_judged_again_each_time() {
        let (keys, none, mut revoked) = (keys(), Revoked::default(), Revoked::default());
        let token = sign(&claims("acme"));
        let check = Check { keys: &keys, revoked: &none, audience: AUDIENCE_CELL, now: NOW, leeway: 5 };
        assert!(verify(&token, check).is_ok());
        revoked.add(Revocation { seq: 1, sid: "session-1".into(), until: NOW + 900 });
        assert_eq!(verify(&token, Check { revoked: &revoked, ..check }), Err(TokenError::Revoked));
        assert_eq!(verify(&token, Check { now: NOW + 605, ..check }), Err(TokenError::Expired));
        assert_eq!(verify(&token, Check { audience: "cytoplane:global", ..check }), Err(TokenError::Audience));
        assert!(verify(&token, check).is_ok());
    }

    #[test]
    fn a_good_token_gives_its_claims() {
        let given = claims("acme");
        assert_eq!(outcome(&sign(&given)), Ok(given));
    }

    #[test]
    fn every_kind_of_bad_token_is_refused() {
        let with = |change: fn(&mut Claims)| {
            let mut claims = claims("acme");
            change(&mut claims);
            sign(&claims)
        };
        let payload = serde_json::to_string(&claims("acme")).unwrap();
        let later = payload.replacen('{', &format!("{{\"nbf\":{},", NOW + 60), 1);
        let table = [
            (with(|c| c.exp = NOW - 6), TokenError::Expired),
            (with(|c| c.iat = NOW + 60), TokenError::NotYet),
            (sign_with(r#"{"alg":"EdDSA","kid":"k1"}"#, &later, &key()), TokenError::NotYet),
            (with(|c| c.iat = NOW - 800), TokenError::TooLong),
            (with(|c| c.exp = i64::MAX), TokenError::TooLong),
            (with(|c| c.iss = "https://evil".into()), TokenError::Issuer),
            (with(|c| c.aud = "cytoplane:global".into()), TokenError::Audience),
            (with(|c| c.sid = "gone".into()), TokenError::Revoked),
            (sign_with(r#"{"alg":"none","kid":"k1"}"#, &payload, &key()), TokenError::Algorithm),
            (sign_with(r#"{"alg":"HS256","kid":"k1"}"#, &payload, &key()), TokenError::Algorithm),
            (sign_with(r#"{"alg":"EdDSA","kid":"k2"}"#, &payload, &key()), TokenError::UnknownKey),
            (sign_with(r#"{"alg":"EdDSA"}"#, &payload, &key()), TokenError::Malformed),
            (sign_with(r#"{"alg":"EdDSA","kid":"k1","crit":["b64"]}"#, &payload, &key()), TokenError::Malformed),
            (
                sign_with(r#"{"alg":"EdDSA","kid":"k1"}"#, &payload, &SigningKey::from_bytes(&[8; 32])),
                TokenError::Signature,
            ),
            (sign_with(r#"{"alg":"EdDSA","kid":"k1"}"#, "{}", &key()), TokenError::Malformed),
            ("a.b".into(), TokenError::Malformed),
            ("".into(), TokenError::Malformed),
            ("x".repeat(MAX_TOKEN + 1), TokenError::Malformed),
        ];
        for (token, error) in table {
            assert_eq!(outcome(&token), Err(error), "{token}");
        }
    }

    #[test]
    fn a_changed_byte_anywhere_spoils_a_token() {
        let good = sign(&claims("acme"));
        for at in 0..good.len() {
            let mut bytes = good.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let bad = String::from_utf8(bytes).unwrap();
            assert!(outcome(&bad).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_key_set_without_a_key_is_refused() {
        assert_eq!(Keys::read(br#"{"keys":[]}"#).unwrap_err(), KeysError::Empty);
        assert!(matches!(Keys::read(b"<html>"), Err(KeysError::Shape(_))));
        let short = br#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","x":"AAAA"}]}"#;
        assert!(matches!(Keys::read(short), Err(KeysError::Shape(_))));
        assert_eq!(keys().len(), 1);
    }
}
