//! Verification of tokens against a cached key set: no call leaves the process.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arc_swap::ArcSwap;
use contracts::claims::{self, Claims, Revocation};
use contracts::key_cards::{self, ApiKey};
use jsonwebtoken::jwk::{AlgorithmParameters, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use moka::sync::Cache;
use serde::Deserialize;

use crate::clock::unix_seconds;
use crate::fault::{self, Fault};

/// Clocks of two machines may differ by this many seconds.
const LEEWAY_SECONDS: u64 = 5;
/// A longer token is refused unread.
const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// Why a token was refused. The token itself is never part of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("a bearer token is required")]
    Missing,
    #[error("the token is not well formed")]
    Malformed,
    #[error("the token was signed by a key that is not known here")]
    UnknownKey,
    #[error("the token's signature or claims are not valid")]
    Invalid,
    #[error("the token has expired")]
    Expired,
    #[error("the token's session was revoked")]
    Revoked,
    #[error("the API key came without a card that is good for it")]
    Card,
}

impl Fault for TokenError {
    fn kind(&self) -> fault::Kind {
        fault::Kind::Unauthenticated
    }
    fn code(&self) -> &'static str {
        match self {
            TokenError::Missing => "token/missing",
            TokenError::Malformed => "token/malformed",
            TokenError::UnknownKey => "token/unknown-key",
            TokenError::Invalid => "token/invalid",
            TokenError::Expired => "token/expired",
            TokenError::Revoked => "token/revoked",
            TokenError::Card => "token/card",
        }
    }
}

/// Keys, and tokens found to be signed by them: the next call with the same one does not pay for it again. Gone with
/// the keys; lifetime and revocation are judged each time.
struct KeySet {
    by_id: HashMap<String, DecodingKey>,
    proven: Cache<String, Arc<Signed>>,
}

/// What a token or a card says.
#[derive(Deserialize)]
struct Signed {
    #[serde(flatten)]
    claims: Claims,
    /// Of a card: what it says of its key's secret.
    dig: Option<String>,
}

/// Bytes of tokens that are remembered.
const PROVEN_BYTES: u64 = 8 << 20;

impl Default for KeySet {
    fn default() -> Self {
        Self::new(HashMap::new())
    }
}

impl KeySet {
    fn new(by_id: HashMap<String, DecodingKey>) -> Self {
        let weigher = |token: &String, _: &Arc<Signed>| u32::try_from(2 * token.len()).unwrap_or(u32::MAX);
        Self { by_id, proven: Cache::builder().max_capacity(PROVEN_BYTES).weigher(weigher).build() }
    }
}

/// Verifies tokens of one audience. Keys and revocations are swapped in by the feeds.
pub struct Verifier {
    audience: &'static str,
    keys: ArcSwap<KeySet>,
    revoked: ArcSwap<HashSet<String>>,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier").field("audience", &self.audience).finish_non_exhaustive()
    }
}

impl Verifier {
    pub fn new(audience: &'static str) -> Arc<Self> {
        Arc::new(Self { audience, keys: ArcSwap::default(), revoked: ArcSwap::default() })
    }

    /// Replaces the key set. Keys that are not Ed25519 or carry no `kid` are passed over; a set without
    /// any other is refused, and the last good one stays. Answers whether it was taken.
    pub fn set_keys(&self, set: &JwkSet) -> bool {
        let keys = set.keys.iter().filter_map(|key| {
            let AlgorithmParameters::OctetKeyPair(params) = &key.algorithm else { return None };
            let kid = key.common.key_id.clone()?;
            Some((kid, DecodingKey::from_ed_components(&params.x).ok()?))
        });
        let keys: HashMap<String, DecodingKey> = keys.collect();
        if keys.is_empty() {
            return false;
        }
        self.keys.store(Arc::new(KeySet::new(keys)));
        true
    }

    /// Replaces the revocations; entries whose tokens have all expired are dropped.
    pub fn set_revocations(&self, list: &[Revocation]) {
        let now = unix_seconds();
        let sessions = list.iter().filter(|r| r.until >= now).map(|r| r.sid.clone());
        self.revoked.store(Arc::new(sessions.collect()));
    }

    /// Whether any key is known yet.
    pub fn ready(&self) -> bool {
        !self.keys.load().by_id.is_empty()
    }

    /// Verifies the value of an `authorization` header: a token, or an API key by the card that came with it.
    pub fn verify_header(
        &self,
        authorization: Option<&http::HeaderValue>,
        card: Option<&http::HeaderValue>,
    ) -> Result<Claims, TokenError> {
        let value = authorization.ok_or(TokenError::Missing)?.to_str().map_err(|_| TokenError::Malformed)?;
        let (kind, token) = value.split_once(' ').ok_or(TokenError::Malformed)?;
        if !kind.eq_ignore_ascii_case("bearer") {
            return Err(TokenError::Missing);
        }
        match token.trim() {
            key if key.starts_with(key_cards::PREFIX) => self.verify_key(key, card),
            token => self.verify(token),
        }
    }

    pub fn verify(&self, token: &str) -> Result<Claims, TokenError> {
        let signed = self.judge(token, Kind::Token { audience: self.audience })?;
        Ok(signed.claims.clone())
    }

    fn verify_key(&self, key: &str, card: Option<&http::HeaderValue>) -> Result<Claims, TokenError> {
        let key = ApiKey::parse(key).ok_or(TokenError::Malformed)?;
        let card = card.ok_or(TokenError::Card)?.to_str().map_err(|_| TokenError::Card)?;
        let signed = self.judge(card, Kind::Card)?;
        let is_its = signed.dig.as_deref().is_some_and(|said| key.is_of(said));
        if is_its { Ok(signed.claims.clone()) } else { Err(TokenError::Card) }
    }

    fn judge(&self, token: &str, kind: Kind) -> Result<Arc<Signed>, TokenError> {
        let keys = self.keys.load();
        let signed = match keys.proven.get(token) {
            Some(known) => known,
            None => {
                let proven = Arc::new(prove(token, kind, &keys.by_id)?);
                keys.proven.insert(token.to_owned(), Arc::clone(&proven));
                proven
            }
        };
        let (claims, now) = (&signed.claims, unix_seconds());
        if claims.exp < now - LEEWAY_SECONDS as i64 {
            return Err(TokenError::Expired);
        }
        // A card that was proven is no token, and a token no card.
        let is_of_kind = claims.aud == kind.audience() && claims.exp - claims.iat <= kind.longest();
        if !is_of_kind || claims.iat > now + LEEWAY_SECONDS as i64 {
            return Err(TokenError::Invalid);
        }
        if self.revoked.load().contains(&claims.sid) {
            return Err(TokenError::Revoked);
        }
        Ok(signed)
    }
}

/// What is being verified.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Token { audience: &'static str },
    Card,
}

impl Kind {
    fn audience(self) -> &'static str {
        match self {
            Kind::Token { audience } => audience,
            Kind::Card => key_cards::AUDIENCE,
        }
    }

    /// Seconds.
    fn longest(self) -> i64 {
        match self {
            Kind::Token { .. } => claims::MAX_TOKEN_SECONDS,
            Kind::Card => key_cards::MAX_SECONDS,
        }
    }
}

/// What a token says that one of the keys signed, if it is of this kind.
fn prove(token: &str, kind: Kind, keys: &HashMap<String, DecodingKey>) -> Result<Signed, TokenError> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(TokenError::Malformed);
    }
    let kid = decode_header(token).map_err(|_| TokenError::Malformed)?.kid.ok_or(TokenError::UnknownKey)?;
    let key = keys.get(&kid).ok_or(TokenError::UnknownKey)?;
    let mut rules = Validation::new(Algorithm::EdDSA);
    rules.leeway = LEEWAY_SECONDS;
    rules.set_audience(&[kind.audience()]);
    rules.set_issuer(&[claims::ISSUER]);
    rules.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
    let signed = decode::<Signed>(token, key, &rules).map_err(|error| match error.kind() {
        jsonwebtoken::errors::ErrorKind::ExpiredSignature => TokenError::Expired,
        _ => TokenError::Invalid,
    })?;
    Ok(signed.claims)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use contracts::TenantId;
    use ed25519_dalek::SigningKey;
    use ed25519_dalek::pkcs8::EncodePrivateKey;
    use jsonwebtoken::{EncodingKey, Header, encode};

    fn claims() -> Claims {
        let now = unix_seconds();
        Claims {
            iss: claims::ISSUER.into(),
            sub: "u1".into(),
            tid: Some(TenantId::new("acme").unwrap()),
            org: None,
            scp: "*".into(),
            grp: vec![],
            mrk: vec![],
            sid: "s1".into(),
            aud: claims::AUDIENCE_CELL.into(),
            iat: now,
            exp: now + 600,
            jti: "j1".into(),
        }
    }

    fn signed(key: &SigningKey, claims: &Claims) -> String {
        let der = key.to_pkcs8_der().unwrap();
        let header = Header { kid: Some("k1".into()), ..Header::new(Algorithm::EdDSA) };
        encode(&header, claims, &EncodingKey::from_ed_der(der.as_bytes())).unwrap()
    }

    fn verifier(key: &SigningKey) -> Arc<Verifier> {
        let x = URL_SAFE_NO_PAD.encode(key.verifying_key().as_bytes());
        let set = serde_json::json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k1", "alg": "EdDSA", "use": "sig", "x": x}]});
        let verifier = Verifier::new(claims::AUDIENCE_CELL);
        assert!(verifier.set_keys(&serde_json::from_value(set).unwrap()));
        verifier
    }

    #[test]
    fn only_a_fresh_token_of_ours_for_this_audience_is_good() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let verifier = verifier(&key);
        let good = claims();
        assert_eq!(verifier.verify(&signed(&key, &good)), Ok(good));

        let stranger = SigningKey::from_bytes(&[8; 32]);
        assert_eq!(verifier.verify(&signed(&stranger, &claims())), Err(TokenError::Invalid));
        let now = unix_seconds();
        let expired = Claims { iat: now - 700, exp: now - 100, ..claims() };
        assert_eq!(verifier.verify(&signed(&key, &expired)), Err(TokenError::Expired));
        let eternal = Claims { exp: now + 86_400, ..claims() };
        assert_eq!(verifier.verify(&signed(&key, &eternal)), Err(TokenError::Invalid));
        let other = Claims { aud: claims::AUDIENCE_GLOBAL.into(), ..claims() };
        assert_eq!(verifier.verify(&signed(&key, &other)), Err(TokenError::Invalid));
        let forged = Claims { iss: "https://elsewhere".into(), ..claims() };
        assert_eq!(verifier.verify(&signed(&key, &forged)), Err(TokenError::Invalid));
        assert_eq!(verifier.verify("not.a.token"), Err(TokenError::Malformed));
    }

    #[test]
    fn a_key_set_without_a_key_of_use_leaves_the_last_good_one_in_place() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let verifier = verifier(&key);
        let nameless = serde_json::json!({"kty": "OKP", "crv": "Ed25519", "x": "AAAA"});
        let symmetric = serde_json::json!({"kty": "oct", "kid": "k1", "k": "AAAA"});
        for keys in [vec![], vec![nameless, symmetric]] {
            let set = serde_json::from_value(serde_json::json!({ "keys": keys })).unwrap();
            assert!(!verifier.set_keys(&set));
            assert_eq!(verifier.verify(&signed(&key, &claims())), Ok(claims()));
        }
    }

    #[test]
    fn what_was_proven_is_gone_with_its_keys() {
        let (key, next) = (SigningKey::from_bytes(&[7; 32]), SigningKey::from_bytes(&[9; 32]));
        let verifier = verifier(&key);
        let token = signed(&key, &claims());
        assert!(verifier.verify(&token).is_ok() && verifier.verify(&token).is_ok());
        let x = URL_SAFE_NO_PAD.encode(next.verifying_key().as_bytes());
        let set = serde_json::json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k1", "x": x}]});
        assert!(verifier.set_keys(&serde_json::from_value(set).unwrap()));
        assert_eq!(verifier.verify(&token), Err(TokenError::Invalid));
    }

    #[test]
    fn a_revoked_session_ends_at_once() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let verifier = verifier(&key);
        let token = signed(&key, &claims());
        verifier.set_revocations(&[Revocation { seq: 1, sid: "s1".into(), until: unix_seconds() + 900 }]);
        assert_eq!(verifier.verify(&token), Err(TokenError::Revoked));
    }

    fn bearer(text: &str) -> http::HeaderValue {
        http::HeaderValue::try_from(format!("Bearer {text}")).unwrap()
    }

    #[test]
    fn a_key_is_good_with_its_own_card_only() {
        let signing = SigningKey::from_bytes(&[7; 32]);
        let verifier = verifier(&signing);
        let (id, secret) = (uuid::Uuid::from_u128(5), [3; 32]);
        let key = format!("ck_{}_{}", id.simple(), hex::encode(secret));
        let now = unix_seconds();
        let of_card =
            Claims { aud: key_cards::AUDIENCE.into(), exp: now + key_cards::MAX_SECONDS, iat: now, ..claims() };
        let card = |claims: &Claims, secret| {
            let card = key_cards::Card { claims: claims.clone(), key: id, dig: key_cards::digest(secret) };
            let header = Header { kid: Some("k1".into()), ..Header::new(Algorithm::EdDSA) };
            encode(&header, &card, &EncodingKey::from_ed_der(signing.to_pkcs8_der().unwrap().as_bytes())).unwrap()
        };
        let asked = |key: &str, card: &str| {
            let card = (!card.is_empty()).then(|| http::HeaderValue::try_from(card).unwrap());
            verifier.verify_header(Some(&bearer(key)), card.as_ref())
        };
        let good = card(&of_card, &secret);
        assert_eq!(asked(&key, &good), Ok(of_card.clone()));
        assert_eq!(asked(&key, ""), Err(TokenError::Card));
        assert_eq!(asked(&key, &card(&of_card, &[4; 32])), Err(TokenError::Card));
        assert_eq!(asked(&key[..key.len() - 2], &good), Err(TokenError::Malformed));
        // A card is no token, also when it was proven before; nor is a token a card.
        assert_eq!(asked(&good, ""), Err(TokenError::Invalid));
        let token = signed(&signing, &claims());
        assert!(asked(&token, "").is_ok());
        assert_eq!(asked(&key, &token), Err(TokenError::Invalid));
        let long = Claims { exp: now + key_cards::MAX_SECONDS + 1, ..of_card.clone() };
        assert_eq!(asked(&key, &card(&long, &secret)), Err(TokenError::Invalid));
        verifier.set_revocations(&[Revocation { seq: 1, sid: "s1".into(), until: of_card.exp }]);
        assert_eq!(asked(&key, &good), Err(TokenError::Revoked));
    }
}
