//! The routing feed is taken only as tenancy signed it.

use contracts::routing::Change;
use ed25519_dalek::SigningKey;

use crate::site::{Site, route, until};
use crate::tokens::{jwks, signing_key, token};

/// The cell that answers acme.
async fn cell(site: &Site) -> String {
    let request = site.client().build().unwrap().get(site.url("acme.localhost", "/anything"));
    let response = request.bearer_auth(token("acme")).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let said: serde_json::Value = response.json().await.unwrap();
    said["peer"].as_str().unwrap().to_owned()
}

async fn refusals(site: &Site) -> u64 {
    let metrics = site.admin("/metrics").await.1;
    let line = metrics.lines().find(|line| line.starts_with("router_refused_data_total{feed=\"routing\"}"));
    line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_tenancy_did_not_sign_is_not_in_force() {
    let mut site = Site::start().await;
    let moved = || Change::TenantPlaced { route: route("acme", "dedicated-1", 7) };
    let forger = SigningKey::from_bytes(&[6; 32]);
    assert_eq!(cell(&site).await, "shared-1");

    // Refused again with every new connection, and nothing of it is kept.
    site.change_sealed(moved(), "k1", &forger);
    until("refusals", async || refusals(&site).await >= 2).await;
    assert_eq!(cell(&site).await, "shared-1");

    site.take_back();
    site.change(moved());
    until("the change", async || cell(&site).await == "dedicated-1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_has_come_into_use_is_fetched() {
    let mut site = Site::start().await;
    let newer = SigningKey::from_bytes(&[5; 32]);
    let global = site.global.as_ref().unwrap().behaviour.clone();
    *global.jwks.lock().await = jwks(&[("k1", &signing_key()), ("k2", &newer)]);
    site.change_sealed(Change::TenantPlaced { route: route("acme", "dedicated-1", 7) }, "k2", &newer);
    until("the change", async || cell(&site).await == "dedicated-1").await;
}
