//! One router after the other on the same sockets.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use nix::sys::signal::Signal;

use crate::site::{Site, until};
use crate::tokens::token;

/// What clients saw.
#[derive(Default)]
struct Seen {
    good: AtomicUsize,
    retried: AtomicUsize,
    failed: parking_lot::Mutex<Vec<String>>,
    over: AtomicBool,
}

/// Asks over and over, on a kept connection or on a new one each time; a connection that was closed is tried once
/// more, as any client does.
async fn ask(client: reqwest::ClientBuilder, url: String, seen: Arc<Seen>) {
    let client = client.build().unwrap();
    let once = async || {
        let sent = client.get(&url).bearer_auth(token("acme")).send().await.map_err(|error| format!("{error:?}"))?;
        match sent.status().as_u16() {
            200 => sent.text().await.map(drop).map_err(|error| format!("{error:?}")),
            other => Err(format!("answered {other}")),
        }
    };
    while !seen.over.load(Ordering::SeqCst) {
        let outcome = match once().await {
            Ok(()) => Ok(()),
            Err(_) => {
                seen.retried.fetch_add(1, Ordering::SeqCst);
                once().await
            }
        };
        match outcome {
            Ok(()) => _ = seen.good.fetch_add(1, Ordering::SeqCst),
            Err(error) => seen.failed.lock().push(error),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn successors_take_over_under_load_and_no_request_fails() {
    let mut site = Site::start().await;
    let seen = Arc::new(Seen::default());
    let url = site.url("acme.localhost", "/api/v1/streams");
    let clients = (0..6).map(|number| {
        let client = match number % 3 {
            0 => site.client(),
            1 => site.client().pool_max_idle_per_host(0),
            _ => site.client().http2_prior_knowledge(),
        };
        tokio::spawn(ask(client, url.clone(), seen.clone()))
    });
    let clients: Vec<_> = clients.collect();
    for round in 1..=4 {
        let served = seen.good.load(Ordering::SeqCst);
        let mut before = site.succeed().await;
        assert_eq!(before.ended().await.0, Some(0), "round {round}");
        until("the successor serves", async || seen.good.load(Ordering::SeqCst) > served + 100).await;
    }
    seen.over.store(true, Ordering::SeqCst);
    for client in clients {
        client.await.unwrap();
    }
    let (good, retried) = (seen.good.load(Ordering::SeqCst), seen.retried.load(Ordering::SeqCst));
    println!("{good} requests over four successions, {retried} of them sent twice");
    assert_eq!(*seen.failed.lock(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_under_way_is_finished_by_the_router_that_began_it() {
    let mut site = Site::start().await;
    let client = site.client().build().unwrap();
    let held = client.get(site.url("acme.localhost", "/held")).bearer_auth(token("acme"));
    let asked = tokio::spawn(held.send());
    until("the request", async || site.shared.behaviour.requests.load(Ordering::SeqCst) == 1).await;
    let mut before = site.succeed().await;
    let other = client.get(site.url("acme.localhost", "/api/v1/streams")).bearer_auth(token("acme"));
    assert_eq!(other.send().await.unwrap().status().as_u16(), 200);
    assert!(!asked.is_finished());
    site.shared.behaviour.release.send_replace(true);
    assert_eq!(asked.await.unwrap().unwrap().text().await.unwrap(), "held but whole");
    assert_eq!(before.ended().await.0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_successor_that_ends_before_it_serves_changes_nothing() {
    let site = Site::start().await;
    let asks = site.folder.path().join("data/handover.sock");
    for _ in 0..3 {
        // Takes the sockets and dies.
        drop(UnixStream::connect(&asks).unwrap());
    }
    until("it was noticed", async || site.router().said().matches("serving on").count() == 3).await;
    let client = site.client().build().unwrap();
    let url = site.url("acme.localhost", "/api/v1/streams");
    assert_eq!(client.get(&url).bearer_auth(token("acme")).send().await.unwrap().status().as_u16(), 200);
    assert_eq!(site.admin("/ready").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_socket_of_a_router_that_was_killed_is_no_hindrance() {
    let mut site = Site::start().await;
    site.router().signal(Signal::SIGKILL);
    assert_eq!(site.router.as_mut().unwrap().ended().await.0, None);
    site.start_router("").await;
    let client = site.client().build().unwrap();
    let url = site.url("acme.localhost", "/api/v1/streams");
    assert_eq!(client.get(&url).bearer_auth(token("acme")).send().await.unwrap().status().as_u16(), 200);
}
