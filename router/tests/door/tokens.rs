//! Tokens as identity signs them, and its key set.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use contracts::TenantId;
use contracts::claims::{AUDIENCE_CELL, Claims, ISSUER};
use ed25519_dalek::{Signer, SigningKey};

pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64
}

pub fn signing_key() -> SigningKey {
    SigningKey::from_bytes(&[9; 32])
}

pub fn jwks(keys: &[(&str, &SigningKey)]) -> String {
    let keys: Vec<_> = keys
        .iter()
        .map(|(kid, key)| {
            let x = URL_SAFE_NO_PAD.encode(key.verifying_key().as_bytes());
            serde_json::json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": kid, "x": x})
        })
        .collect();
    serde_json::json!({ "keys": keys }).to_string()
}

pub fn claims(tenant: &str) -> Claims {
    Claims {
        iss: ISSUER.into(),
        sub: "u".into(),
        tid: Some(TenantId::new(tenant).unwrap()),
        org: None,
        scp: "*".into(),
        grp: vec![],
        mrk: vec![],
        sid: format!("session-{tenant}"),
        aud: AUDIENCE_CELL.into(),
        iat: now() - 1,
        exp: now() + 600,
        jti: "j".into(),
    }
}

pub fn sign(claims: &impl serde::Serialize, kid: &str, key: &SigningKey) -> String {
    let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"EdDSA","typ":"at+jwt","kid":"{kid}"}}"#));
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(serde_json::to_string(claims).unwrap()));
    let signature = URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()).to_bytes());
    format!("{signed}.{signature}")
}

pub fn token(tenant: &str) -> String {
    sign(&claims(tenant), "k1", &signing_key())
}
