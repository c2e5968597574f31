//! What a tier allows a tenant, and that it takes nothing from another.

use contracts::TierId;
use contracts::routing::{Change, Route};
use contracts::tiers::Tier;
use serde_json::Value;

use crate::site::{Site, route, until};
use crate::tokens::token;

fn gold() -> Tier {
    Tier::unlimited(TierId::new("gold").unwrap())
}

/// A site whose tenant acme is of this tier.
pub async fn with_tier(tier: Tier) -> Site {
    let mut site = Site::start().await;
    let of_tier = Route { tier: tier.tier.clone(), ..route("acme", "shared-1", 1) };
    site.change(Change::TierUpserted { tier });
    site.change(Change::TenantPlaced { route: of_tier });
    site.wait_for_metric("router_table_version 12").await;
    site
}

pub fn get(site: &Site, tenant: &str, path: &str) -> impl Future<Output = reqwest::Response> + use<> {
    let url = site.url(&format!("{tenant}.localhost"), path);
    let sent = site.client().build().unwrap().get(url).bearer_auth(token(tenant)).send();
    async { sent.await.unwrap() }
}

fn header<'a>(answer: &'a reqwest::Response, name: &str) -> Option<&'a str> {
    answer.headers().get(name).map(|value| value.to_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_over_its_rate_is_told_when_to_come_again() {
    let site = with_tier(Tier { requests_per_second: 1, request_burst: 3, ..gold() }).await;
    let before = site.shared.behaviour.requests.load(std::sync::atomic::Ordering::SeqCst);
    for _ in 0..20 {
        let url = site.url("acme.localhost", "/api/v1/streams");
        let preflight = site.client().build().unwrap().request(reqwest::Method::OPTIONS, url).send().await.unwrap();
        assert_eq!(preflight.status(), 200, "a preflight without a token");
    }
    let before = before + 20;
    let mut passed = 0;
    let refused = loop {
        let answer = get(&site, "acme", "/api/v1/streams").await;
        if answer.status() != 200 {
            break answer;
        }
        passed += 1;
        assert_eq!(header(&answer, "ratelimit-policy"), Some("\"tenant\";q=1;w=1;burst=3"));
        assert!(header(&answer, "ratelimit").unwrap().starts_with("\"tenant\";r="));
        assert!(passed < 1_000, "nothing is refused");
    };
    assert!(passed >= 3, "{passed}");
    assert_eq!(refused.status(), 429);
    assert_eq!(header(&refused, "retry-after"), Some("1"));
    let problem: Value = refused.json().await.unwrap();
    assert_eq!(problem["code"], "router/rate-limit");
    let reached = site.shared.behaviour.requests.load(std::sync::atomic::Ordering::SeqCst) - before;
    assert_eq!(reached, passed, "a refused request reached the cell");
    assert_eq!(get(&site, "globex", "/api/v1/streams").await.status(), 200);
    let explained = site.admin("/routes/acme.localhost").await.1;
    assert!(explained.contains("\"tier\":\"gold\""), "{explained}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_with_all_its_places_taken_waits_for_one() {
    let site = with_tier(Tier { concurrent_requests: 2, ..gold() }).await;
    let (first, second) = (get(&site, "acme", "/held"), get(&site, "acme", "/held"));
    let held = tokio::spawn(futures::future::join(first, second));
    until("both are under way", async || site.admin("/metrics").await.1.contains("router_requests_in_flight 2\n"))
        .await;
    let refused = get(&site, "acme", "/api/v1/streams").await;
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.json::<Value>().await.unwrap()["code"], "router/concurrency-limit");
    assert_eq!(get(&site, "globex", "/api/v1/streams").await.status(), 200);
    site.shared.behaviour.release.send_replace(true);
    let (first, second) = held.await.unwrap();
    assert_eq!((first.text().await.unwrap(), second.status().as_u16()), ("held but whole".to_owned(), 200));
    until("a place is free", async || get(&site, "acme", "/api/v1/streams").await.status() == 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_have_passed_are_made_good_first() {
    let site = with_tier(Tier { bytes_per_second: 1_000, byte_burst: 1_000, ..gold() }).await;
    let url = site.url("acme.localhost", "/collect");
    let body = vec![7_u8; 200_000];
    let sent = site.client().build().unwrap().post(url).bearer_auth(token("acme")).body(body).send().await.unwrap();
    assert_eq!(sent.status(), 200);
    let refused = get(&site, "acme", "/api/v1/streams").await;
    assert_eq!(refused.status(), 429);
    let after: u64 = header(&refused, "retry-after").unwrap().parse().unwrap();
    assert!((100..=200).contains(&after), "{after}");
    assert_eq!(refused.json::<Value>().await.unwrap()["code"], "router/byte-limit");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tier_says_how_long_a_body_may_be_and_the_cell_hears_of_its_limits() {
    let site = with_tier(Tier { body_bytes: 1_000, requests_per_second: 50, request_burst: 60, ..gold() }).await;
    let client = site.client().build().unwrap();
    let post =
        |tenant: &str| client.post(site.url(&format!("{tenant}.localhost"), "/collect")).bearer_auth(token(tenant));
    assert_eq!(post("acme").body(vec![7_u8; 1_000]).send().await.unwrap().status(), 200);
    assert_eq!(post("acme").body(vec![7_u8; 1_001]).send().await.unwrap().status(), 413);
    // Of a length that nobody announced, too; and another tenant's are as long as the router lets them be.
    let pieces = || futures::stream::iter((0..20).map(|_| Ok::<_, std::io::Error>(vec![7_u8; 100])));
    let streamed = post("acme").body(reqwest::Body::wrap_stream(pieces())).send().await;
    assert!(streamed.is_err() || streamed.is_ok_and(|answer| answer.status() == 413));
    assert_eq!(post("globex").body(reqwest::Body::wrap_stream(pieces())).send().await.unwrap().status(), 200);
    let seen: Value = get(&site, "acme", "/api/v1/streams").await.json().await.unwrap();
    assert_eq!(seen["headers"]["x-cyto-limits"], "50 60 0");
    let seen: Value = get(&site, "globex", "/api/v1/streams").await.json().await.unwrap();
    assert_eq!(seen["headers"]["x-cyto-limits"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_router_keeps_a_place_for_the_modest() {
    let mut site = Site::peers().await;
    site.start_router("concurrent_requests = 4").await;
    let greedy: Vec<_> = (0..4).map(|_| get(&site, "acme", "/held")).collect();
    let held = tokio::spawn(futures::future::join_all(greedy));
    until("all are under way", async || site.admin("/metrics").await.1.contains("router_requests_in_flight 4\n")).await;
    let refused = get(&site, "acme", "/api/v1/streams").await;
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.json::<Value>().await.unwrap()["code"], "router/busy");
    assert_eq!(get(&site, "globex", "/api/v1/streams").await.status(), 200);
    site.shared.behaviour.release.send_replace(true);
    assert!(held.await.unwrap().iter().all(|answer| answer.status() == 200));
}
