//! What limiting costs a request: entering and leaving at 10⁴ and 10⁶ tenants in use, let in and refused; and the
//! signature of a token, the first time and after.
//! `cargo bench -p router --bench limits`; medians, one thread.
#![allow(clippy::print_stdout, clippy::expect_used)]

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use contracts::claims::{AUDIENCE_CELL, Claims, ISSUER};
use contracts::shares::WHOLE;
use contracts::tiers::Tier;
use contracts::{TenantId, TierId};
use ed25519_dalek::{Signer, SigningKey};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use router::fairness::{Allowance, Ledger};
use router::revoked::Revoked;
use router::token::{Check, Keys, verify};

const SIZES: [usize; 2] = [10_000, 1_000_000];
/// Requests per measurement, and measurements per median.
const REQUESTS: usize = 100_000;
const ROUNDS: usize = 11;
const TOKENS: usize = 1_000;
const NOW: i64 = 1_800_000_000;

fn main() {
    println!("| tenants in use | bytes a tenant | let in and out, ns | refused, ns |");
    println!("|---|---|---|---|");
    SIZES.into_iter().for_each(limits);
    println!();
    println!("| token of {} bytes | µs |", tokens(1).remove(0).len());
    println!("|---|---|");
    signatures();
}

fn limits(size: usize) {
    let allowance = Allowance::of(&Tier {
        requests_per_second: 1,
        request_burst: 1_000_000,
        concurrent_requests: 100,
        bytes_per_second: 1,
        byte_burst: 1,
        ..Tier::unlimited(TierId::default())
    });
    let tight = Allowance { concurrent: Some(0), ..allowance };
    let now = Duration::from_secs(1);
    let names: Vec<TenantId> = (0..size).map(|n| TenantId::new(format!("t{n:07}")).expect("a tenant")).collect();
    let (ledger, before) = (Ledger::new(usize::MAX), resident());
    for name in &names {
        drop(ledger.enter(name, allowance, WHOLE, now).expect("room"));
    }
    let bytes = (resident() - before) / size as f64;
    let mut random = StdRng::seed_from_u64(7);
    let asked: Vec<&TenantId> = (0..REQUESTS).filter_map(|_| names.get(random.random_range(0..names.len()))).collect();
    let entered =
        median(|| asked.iter().filter(|name| ledger.enter(name, allowance, WHOLE, now).is_ok()).count(), REQUESTS);
    let refused =
        median(|| asked.iter().filter(|name| ledger.enter(name, tight, WHOLE, now).is_err()).count(), REQUESTS);
    println!("| {size} | {bytes:.0} | {} | {} |", entered.as_nanos(), refused.as_nanos());
}

fn signatures() {
    let tokens = tokens(TOKENS);
    let good = |keys: &Keys| {
        let revoked = Revoked::default();
        let check = Check { keys, revoked: &revoked, audience: AUDIENCE_CELL, now: NOW, leeway: 5 };
        tokens.iter().filter(|token| verify(token, check).is_ok()).count()
    };
    let first = median(|| good(&keys()), TOKENS);
    let known = keys();
    good(&known);
    let after = median(|| good(&known), TOKENS);
    println!("| the first time | {:.1} |", first.as_secs_f64() * 1e6);
    println!("| after | {:.2} |", after.as_secs_f64() * 1e6);
}

/// Of one of `times`.
fn median(run: impl Fn() -> usize, times: usize) -> Duration {
    let mut took: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let begun = Instant::now();
            assert_eq!(run(), times);
            begun.elapsed() / times as u32
        })
        .collect();
    took.sort_unstable();
    took[ROUNDS / 2]
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn keys() -> Keys {
    let x = URL_SAFE_NO_PAD.encode(key().verifying_key().as_bytes());
    let set = format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","use":"sig","kid":"k","x":"{x}"}}]}}"#);
    Keys::read(set.as_bytes()).expect("a key set")
}

fn tokens(count: usize) -> Vec<String> {
    let sign = |n: usize| {
        let claims = Claims {
            iss: ISSUER.into(),
            sub: "user:0190c2a4-7d2e-7c3a-9f00-000000000000".into(),
            tid: TenantId::new(format!("t{n:07}")).ok(),
            org: Some("acme-corp".into()),
            scp: "sql:read streams:write datasets:write".into(),
            grp: vec![],
            mrk: vec![],
            sid: format!("0190c2a4-7d2e-7c3a-9f00-{n:012}"),
            aud: AUDIENCE_CELL.into(),
            iat: NOW - 10,
            exp: NOW + 600,
            jti: format!("0190c2a4-7d2e-7c3a-9f01-{n:012}"),
        };
        let claims = serde_json::to_string(&claims).expect("claims");
        let head = URL_SAFE_NO_PAD.encode(r#"{"alg":"EdDSA","typ":"at+jwt","kid":"k"}"#);
        let signed = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims));
        let signature = URL_SAFE_NO_PAD.encode(key().sign(signed.as_bytes()).to_bytes());
        format!("{signed}.{signature}")
    };
    (0..count).map(sign).collect()
}

/// Resident memory of this process, bytes.
fn resident() -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or_default() * 1024.0
}
