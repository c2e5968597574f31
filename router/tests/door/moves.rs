//! 421: the router catches up with the placement and tries once more.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use contracts::routing::Change;
use serde_json::Value;

use crate::site::{Site, route, until};
use crate::tokens::token;

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_generation_is_reached_and_the_request_repeated_once() {
    let mut site = Site::peers().await;
    // The request is held until the change has come, however slow the machine is.
    site.start_router("placement_ms = 60000").await;
    site.shared.behaviour.required.store(7, Ordering::SeqCst);
    let client = site.client().build().unwrap();
    let url = site.url("acme.localhost", "/collect");
    let asked = client.post(&url).bearer_auth(token("acme")).body(vec![b'x'; 20_000]).send();
    let asked = tokio::spawn(asked);
    until("the refusal", async || site.shared.behaviour.refused.load(Ordering::SeqCst) == 1).await;
    // The tenant has moved: the new cell answers the held request.
    site.change(Change::TenantPlaced { route: route("acme", "dedicated-1", 7) });
    let answer = asked.await.unwrap().unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    assert_eq!(answer.text().await.unwrap(), "Ok(20000)");
    assert_eq!(site.shared.behaviour.refused.load(Ordering::SeqCst), 1);
    assert_eq!(site.dedicated.behaviour.requests.load(Ordering::SeqCst), 1);
    site.wait_for_metric("router_retries_total{reason=\"misdirected\"} 1").await;
}

/// This router's feed may be away, and the cell's not.
#[tokio::test(flavor = "multi_thread")]
async fn a_cell_that_says_that_its_tenant_is_leaving_is_believed() {
    let mut site = Site::peers().await;
    site.start_router("placement_ms = 1").await;
    site.shared.behaviour.required.store(7, Ordering::SeqCst);
    site.shared.behaviour.leaving.store(true, Ordering::SeqCst);
    let client = site.client().build().unwrap();
    let asked = client.get(site.url("acme.localhost", "/anything")).bearer_auth(token("acme")).send();
    let asked = tokio::spawn(asked);
    until("the refusal", async || site.shared.behaviour.refused.load(Ordering::SeqCst) == 1).await;
    let begun = Instant::now();
    until("longer than for any other placement", async || begun.elapsed() > Duration::from_millis(100)).await;
    assert!(!asked.is_finished());
    site.change(Change::TenantPlaced { route: route("acme", "dedicated-1", 7) });
    assert_eq!(asked.await.unwrap().unwrap().status().as_u16(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generation_that_never_comes_is_503_with_a_time_to_retry() {
    let site = Site::start().await;
    site.shared.behaviour.required.store(9, Ordering::SeqCst);
    let client = site.client().build().unwrap();
    let begun = Instant::now();
    let answer =
        client.get(site.url("acme.localhost", "/api/v1/streams")).bearer_auth(token("acme")).send().await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(500), "{:?}", begun.elapsed());
    assert_eq!(answer.status().as_u16(), 503);
    assert_eq!(answer.headers()["retry-after"], "1");
    assert!(!answer.headers().contains_key("x-cyto-generation-required"));
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["code"], "router/placement-moving");
    assert_eq!(site.shared.behaviour.requests.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_too_large_to_repeat_is_not_repeated() {
    let site = Site::start().await;
    let client = site.client().build().unwrap();
    let url = site.url("acme.localhost", "/refused-late");
    let answer = client.post(&url).bearer_auth(token("acme")).body(vec![b'x'; 120_000]).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 503);
    assert_eq!(answer.headers()["retry-after"], "1");
    assert_eq!(site.shared.behaviour.refused.load(Ordering::SeqCst), 1);
    // One that fits is, once.
    let answer = client.post(&url).bearer_auth(token("acme")).body(vec![b'x'; 60_000]).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 503);
    assert_eq!(site.shared.behaviour.refused.load(Ordering::SeqCst), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cell_that_is_gone_is_503() {
    let mut site = Site::peers().await;
    site.start_router("cell_wait_ms = 100").await;
    // Bound and not listening: the port refuses, and nobody else gets it.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let gone = socket.local_addr().unwrap();
    let endpoint = contracts::routing::CellEndpoint {
        cell: contracts::CellId::new("shared-1").unwrap(),
        http: gone.to_string(),
        flight: gone.to_string(),
        door: None,
    };
    site.change(Change::CellUpserted { endpoint });
    site.wait_for_metric("router_table_version 11").await;
    let client = site.client().build().unwrap();
    let answer =
        client.get(site.url("acme.localhost", "/api/v1/streams")).bearer_auth(token("acme")).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 503);
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["code"], "router/cell-unavailable");
    site.wait_for_metric("router_retries_total{reason=\"refused\"} 1").await;
    let globex = client.get(site.url("globex.localhost", "/")).bearer_auth(token("globex")).send().await.unwrap();
    assert_eq!(globex.status().as_u16(), 200);
}

/// A cell's address that answers with another cell's certificate gets nothing.
#[tokio::test(flavor = "multi_thread")]
async fn the_wrong_certificate_gets_no_request() {
    let mut site = Site::start().await;
    let endpoint = contracts::routing::CellEndpoint {
        cell: contracts::CellId::new("shared-1").unwrap(),
        http: site.dedicated.address.to_string(),
        flight: site.dedicated.address.to_string(),
        door: None,
    };
    site.change(Change::CellUpserted { endpoint });
    site.wait_for_metric("router_table_version 11").await;
    let client = site.client().build().unwrap();
    let answer = client.get(site.url("acme.localhost", "/")).bearer_auth(token("acme")).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 503);
    assert_eq!(site.dedicated.behaviour.requests.load(Ordering::SeqCst), 0);
}

/// Connections kept to a cell that was restarted are not a reason to fail.
#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_cell_is_found_again() {
    let mut site = Site::start().await;
    let client = site.client().build().unwrap();
    let url = site.url("acme.localhost", "/collect");
    for turn in 0..4 {
        let answer = client.post(&url).bearer_auth(token("acme")).body("four").send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 200, "turn {turn}");
        assert_eq!(answer.text().await.unwrap(), "Ok(4)");
        site.restart_shared().await;
    }
}

/// Between its two cells a tenant's requests wait at the router, whatever the size of their bodies.
#[tokio::test(flavor = "multi_thread")]
async fn requests_of_a_tenant_that_is_leaving_wait_until_it_has_arrived() {
    let mut site = Site::peers().await;
    site.start_router("held_requests = 2").await;
    let acme = contracts::TenantId::new("acme").unwrap();
    site.change(Change::TenantLeaving { tenant: acme, generation: contracts::Generation(9) });
    site.wait_for_metric("router_table_version 11").await;
    let client = site.client().build().unwrap();
    let url = site.url("acme.localhost", "/collect");
    let ask = || {
        let asked = client.post(&url).bearer_auth(token("acme")).body(vec![b'x'; 300_000]).send();
        tokio::spawn(asked)
    };
    // Two wait, whichever they are; the third is one too many.
    let (first, _, held) = futures::future::select_all([ask(), ask(), ask()]).await;
    let refused = first.unwrap().unwrap();
    assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (503, &"1".parse().unwrap()));
    let body: Value = refused.json().await.unwrap();
    assert_eq!(body["code"], "router/placement-moving");
    let globex = client.get(site.url("globex.localhost", "/")).bearer_auth(token("globex")).send().await.unwrap();
    assert_eq!(globex.status().as_u16(), 200);
    assert_eq!(site.shared.behaviour.requests.load(Ordering::SeqCst), 0);
    site.change(Change::TenantPlaced { route: route("acme", "dedicated-1", 9) });
    for asked in held {
        let answer = asked.await.unwrap().unwrap();
        assert_eq!(answer.status().as_u16(), 200);
        assert_eq!(answer.text().await.unwrap(), "Ok(300000)");
    }
    assert_eq!(site.shared.behaviour.requests.load(Ordering::SeqCst), 0, "the old cell has heard nothing");
}
