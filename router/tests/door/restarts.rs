//! A cell that is away for a moment.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use tokio::net::TcpSocket;

use crate::peer::{self, Peer};
use crate::site::{Site, until};
use crate::tokens::token;

fn shared_on(site: &Site, listener: TcpListener) -> Peer {
    let spiffe = "spiffe://cytoplane/shared-1/gateway";
    peer::start_on(listener, "shared-1", site.authority.server("gateway.shared-1.cytoplane.internal", spiffe))
}

/// Ends the shared cell's gateway. Its address is bound and not listening: it refuses, and nobody else gets it.
async fn away(site: &mut Site) -> TcpSocket {
    let address = site.shared.address;
    drop(site.shared.stop().await);
    // The ended peer still holds its listener; one elsewhere takes its place.
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    site.shared = shared_on(site, elsewhere);
    let gone = TcpSocket::new_v4().unwrap();
    gone.set_reuseaddr(true).unwrap();
    gone.bind(address).unwrap();
    gone
}

fn back(site: &mut Site, gone: TcpSocket) {
    site.shared = shared_on(site, gone.listen(128).unwrap().into_std().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_wait_for_a_cell_that_restarts_and_the_other_cell_does_not() {
    let mut site = Site::peers().await;
    site.start_router("cell_wait_ms = 60000").await;
    let client = site.client().build().unwrap();
    let url = site.url("acme.localhost", "/api/v1/streams");
    assert_eq!(client.get(&url).bearer_auth(token("acme")).send().await.unwrap().status().as_u16(), 200);
    let gone = away(&mut site).await;
    let posts: Vec<_> = (0..8)
        .map(|_| {
            let sent = client.post(site.url("acme.localhost", "/echo")).bearer_auth(token("acme")).body("kept");
            tokio::spawn(sent.send())
        })
        .collect();
    site.wait_for_metric("router_requests_in_flight 8").await;
    let other = site.url("globex.localhost", "/api/v1/streams");
    assert_eq!(client.get(other).bearer_auth(token("globex")).send().await.unwrap().status().as_u16(), 200);
    assert!(posts.iter().all(|post| !post.is_finished()));
    back(&mut site, gone);
    for post in posts {
        assert_eq!(post.await.unwrap().unwrap().status().as_u16(), 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cell_that_stays_away_is_waited_for_once() {
    let mut site = Site::peers().await;
    site.start_router("cell_wait_ms = 500").await;
    let client = site.client().build().unwrap();
    let url = site.url("acme.localhost", "/api/v1/streams");
    let gone = away(&mut site).await;
    let begun = Instant::now();
    let first = client.get(&url).bearer_auth(token("acme")).send().await.unwrap();
    assert_eq!(first.status().as_u16(), 503);
    assert!(first.headers().contains_key("retry-after"));
    assert!(begun.elapsed() >= Duration::from_millis(400), "{:?}", begun.elapsed());
    let begun = Instant::now();
    for _ in 0..5 {
        let next = client.get(&url).bearer_auth(token("acme")).send().await.unwrap();
        assert_eq!(next.status().as_u16(), 503);
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    back(&mut site, gone);
    until("it is served again", async || {
        client.get(&url).bearer_auth(token("acme")).send().await.unwrap().status().as_u16() == 200
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cell_that_swallows_connections_costs_its_callers_one_timeout() {
    let mut site = Site::peers().await;
    site.start_router("cell_wait_ms = 500\nconnect_seconds = 5").await;
    let client = site.client().build().unwrap();
    let url = site.url("acme.localhost", "/api/v1/streams");
    // Connections come about, for the kernel sees to that; nobody ever says a word.
    let frozen = away(&mut site).await.listen(128).unwrap();
    let begun = Instant::now();
    assert_eq!(client.get(&url).bearer_auth(token("acme")).send().await.unwrap().status().as_u16(), 503);
    assert!(begun.elapsed() >= Duration::from_secs(5), "{:?}", begun.elapsed());
    let begun = Instant::now();
    for _ in 0..5 {
        let next = client.get(&url).bearer_auth(token("acme")).send().await.unwrap();
        assert_eq!(next.status().as_u16(), 503);
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let other = site.url("globex.localhost", "/api/v1/streams");
    assert_eq!(client.get(other).bearer_auth(token("globex")).send().await.unwrap().status().as_u16(), 200);
    site.shared = shared_on(&site, frozen.into_std().unwrap());
    until("it is served again", async || {
        client.get(&url).bearer_auth(token("acme")).send().await.unwrap().status().as_u16() == 200
    })
    .await;
}
