//! API keys at the door.

use contracts::Claims;
use contracts::claims::Revocation;
use contracts::key_cards::{self, Card, CardLine};
use serde_json::Value;
use uuid::Uuid;

use crate::site::{Site, until};
use crate::tokens::{claims, now, sign, signing_key};

const SECRET: [u8; 32] = [5; 32];

fn text(id: Uuid, secret: &[u8; 32]) -> String {
    let secret: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("ck_{}_{secret}", id.simple())
}

/// The card of a key of acme with a session of its own.
fn line(seq: u64, key: Uuid, sid: &str) -> CardLine {
    let claims = Claims { aud: key_cards::AUDIENCE.into(), exp: now() + 3_600, sid: sid.into(), ..claims("acme") };
    let until = claims.exp;
    let card = sign(&Card { claims, key, dig: key_cards::digest(&SECRET) }, "k1", &signing_key());
    CardLine { seq, key, card, until }
}

fn issue(site: &Site, line: &CardLine) {
    let line = serde_json::to_string(line).unwrap();
    site.global.as_ref().unwrap().behaviour.cards.send_modify(|lines| lines.push(line));
}

fn get(site: &Site, host: &str, key: &str) -> impl Future<Output = (u16, Value)> + use<> {
    let url = site.url(host, "/api/v1/streams");
    let sent = site.client().build().unwrap().get(url).bearer_auth(key).header("x-cyto-key-card", "forged").send();
    async {
        let answer = sent.await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_opens_its_tenants_door_with_its_card_in_hand() {
    let site = Site::start().await;
    let id = Uuid::now_v7();
    let (key, line) = (text(id, &SECRET), line(1, id, "s-1"));
    // It was made just now and its card comes a little later: the request waits for it.
    let early = tokio::spawn(get(&site, "acme.localhost", &key));
    until("the request is there", async || site.admin("/metrics").await.1.contains("router_requests_in_flight 1\n"))
        .await;
    issue(&site, &line);
    let (status, seen) = early.await.unwrap();
    assert_eq!(status, 200, "{seen}");
    assert_eq!(seen["headers"]["x-cyto-key-card"], line.card, "not the client's");
    assert_eq!(seen["headers"]["authorization"], format!("Bearer {key}"));
    assert_eq!(seen["headers"]["x-cyto-tenant"], "acme");
    let (status, problem) = get(&site, "globex.localhost", &key).await;
    assert_eq!((status, problem["code"].as_str()), (403, Some("router/other-tenant")));
    let (status, problem) = get(&site, "acme.localhost", &text(id, &[6; 32])).await;
    assert_eq!((status, problem["code"].as_str()), (401, Some("router/token-invalid")));
    let (status, _) = get(&site, "acme.localhost", &line.card).await;
    assert_eq!(status, 401, "a card is no token");
    let (status, _) = get(&site, "acme.localhost", &text(Uuid::from_u128(9), &SECRET)).await;
    assert_eq!(status, 401);
    // With a token, no card goes along, whoever sends one.
    let (status, seen) = get(&site, "acme.localhost", &crate::tokens::token("acme")).await;
    assert_eq!((status, &seen["headers"]["x-cyto-key-card"]), (200, &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_open_the_door_without_the_global_plane_until_they_are_revoked() {
    let mut site = Site::start().await;
    let (kept, ended) = (Uuid::from_u128(21), Uuid::from_u128(22));
    issue(&site, &line(1, kept, "kept"));
    issue(&site, &line(2, ended, "ended"));
    site.wait_for_metric("router_key_cards 2").await;
    assert_eq!(get(&site, "acme.localhost", &text(ended, &SECRET)).await.0, 200);
    let revocation = Revocation { seq: 1, sid: "ended".into(), until: now() + 3_600 };
    let revocation = serde_json::to_string(&revocation).unwrap();
    site.global.as_ref().unwrap().behaviour.revocations.send_modify(|lines| lines.push(revocation));
    until("it is revoked", async || get(&site, "acme.localhost", &text(ended, &SECRET)).await.0 == 401).await;
    for kind in ["routing", "keys", "revocations", "key-cards"] {
        site.wait_for_snapshot(kind).await;
    }
    until("both are on disk", async || {
        let newest = site.snapshots("key-cards").into_iter().max().unwrap();
        String::from_utf8_lossy(&std::fs::read(newest).unwrap()).contains("\"seq\":2")
    })
    .await;
    site.stop_global().await;
    drop(site.router.take());
    site.start_router("").await;
    assert_eq!(get(&site, "acme.localhost", &text(kept, &SECRET)).await.0, 200);
    assert_eq!(get(&site, "acme.localhost", &text(ended, &SECRET)).await.0, 401);
    assert!(!site.router().said().contains("ck_"), "a key is in the log");
}
