//! Ends and beginnings: drain, cold start, bad starts.

use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::site::{Site, until};
use crate::tokens::token;

/// Far from the drain deadline, and less than any pause a server takes before it looks again; the time
/// of a process's own end on a busy machine is in it.
const AT_ONCE: Duration = Duration::from_secs(4);

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_lets_requests_finish_and_ends_at_once_when_idle() {
    let mut site = Site::start().await;
    let client = site.client().pool_max_idle_per_host(8).build().unwrap();
    let url = site.url("acme.localhost", "/held");
    let asked = tokio::spawn(client.get(&url).bearer_auth(token("acme")).send());
    until("the request", async || site.shared.behaviour.requests.load(Ordering::SeqCst) == 1).await;
    let http = site.router().http;
    site.router().signal(Signal::SIGTERM);
    until("draining", async || site.admin("/ready").await == (503, "draining\n".into())).await;
    until("no listener", async || tokio::net::TcpStream::connect(http).await.is_err()).await;
    assert!(!asked.is_finished());
    site.shared.behaviour.release.send_replace(true);
    let answer = asked.await.unwrap().unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    assert_eq!(answer.text().await.unwrap(), "held but whole");
    let (code, took) = site.router.as_mut().unwrap().ended().await;
    assert_eq!(code, Some(0));
    assert!(took < AT_ONCE, "{took:?}");
    assert_eq!(site.logged("/held").await["status"], 200);

    // Idle, with connections kept alive on both sides.
    site.start_router("").await;
    let client = site.client().build().unwrap();
    let url = site.url("acme.localhost", "/api/v1/streams");
    assert_eq!(client.get(&url).bearer_auth(token("acme")).send().await.unwrap().status().as_u16(), 200);
    let h2 = site.client().http2_prior_knowledge().build().unwrap();
    assert_eq!(h2.get(&url).bearer_auth(token("acme")).send().await.unwrap().status().as_u16(), 200);
    site.router().signal(Signal::SIGTERM);
    let (code, took) = site.router.as_mut().unwrap().ended().await;
    assert_eq!(code, Some(0));
    assert!(took < AT_ONCE, "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_never_ends_does_not_hold_the_end_up_for_ever() {
    let mut site = Site::peers().await;
    site.drain_seconds = 3;
    site.start_router("").await;
    let client = site.client().build().unwrap();
    let body = reqwest::Body::wrap_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>());
    let sent = client.post(site.url("acme.localhost", "/collect")).bearer_auth(token("acme")).body(body);
    let asked = tokio::spawn(sent.send());
    site.wait_for_metric("router_requests_in_flight 1").await;
    let begun = Instant::now();
    site.router().signal(Signal::SIGTERM);
    let (code, _) = site.router.as_mut().unwrap().ended().await;
    assert_eq!(code, Some(0));
    assert!(begun.elapsed() >= Duration::from_secs(3), "{:?}", begun.elapsed());
    assert!(!asked.await.unwrap().is_ok_and(|answer| answer.status().is_success()));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_starts_cold_and_serves_with_the_global_plane_gone() {
    let mut site = Site::start().await;
    site.wait_for_snapshot("routing").await;
    site.wait_for_snapshot("keys").await;
    site.stop_global().await;
    site.router().signal(Signal::SIGKILL);
    drop(site.router.take());
    let begun = Instant::now();
    site.start_router("").await;
    let client = site.client().build().unwrap();
    for tenant in ["acme", "globex"] {
        let url = site.url(&format!("{tenant}.localhost"), "/api/v1/streams");
        assert_eq!(client.get(url).bearer_auth(token(tenant)).send().await.unwrap().status().as_u16(), 200);
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let global = client.get(site.url("global.localhost", "/")).send().await.unwrap();
    assert_eq!(global.status().as_u16(), 503);

    // A damaged newest snapshot: the one before it is served.
    drop(site.router.take());
    let whole = site.snapshots("routing").remove(0);
    let folder = whole.parent().unwrap();
    std::fs::write(folder.join("00000000000000000099.snap"), b"CYTOSNAP and then nonsense").unwrap();
    let half = std::fs::read(&whole).unwrap();
    std::fs::write(folder.join("00000000000000000098.snap"), &half[..half.len() / 2]).unwrap();
    site.start_router("").await;
    let url = site.url("acme.localhost", "/api/v1/streams");
    assert_eq!(client.get(url).bearer_auth(token("acme")).send().await.unwrap().status().as_u16(), 200);
    site.wait_for_metric("router_refused_data_total{feed=\"routing\"} 2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_cannot_be_says_why_in_one_line() {
    let site = Site::peers().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let cases = [
        (
            format!(
                "data_dir='d'\n[identity]\ndir='identity'\n[listen]\nhttp='{address}'\nhttps=''\nflight=''\nadmin='127.0.0.1:0'"
            ),
            "cannot listen on",
        ),
        ("data_dir='d'\n[identity]\ndir='nowhere'".into(), "cannot read"),
        ("data_dir='d'\nunknown=1\n[identity]\ndir='identity'".into(), "unknown"),
    ];
    for (config, reason) in cases {
        let path = site.folder.path().join("bad.toml");
        std::fs::write(&path, config).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_router")).arg("--config").arg(&path).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(reason), "{said}");
    }
}
