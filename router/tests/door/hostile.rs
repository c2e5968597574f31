//! Raw sockets: what no client library would send.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::site::{PATIENCE, Site, until};
use crate::tokens::token;

/// Sends bytes as they are; status and body of the answer, 0 when the connection just closes.
async fn raw(site: &Site, bytes: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(site.router().http).await.unwrap();
    // What is too long is refused before its end: the rest may find the connection closed.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("kept open");
    let text = String::from_utf8_lossy(&answer).into_owned();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, text)
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_requests_never_reach_a_cell() {
    let mut site = Site::peers().await;
    site.start_router("body_bytes = 1000\nkeepalive_seconds = 1").await;
    let bearer = token("acme");
    let good = format!("Host: acme.localhost\r\nAuthorization: Bearer {bearer}\r\n");
    let large = "x".repeat(36 * 1024);
    let cases: Vec<(String, &[u16])> = vec![
        (format!("GET / HTTP/1.1\r\nAuthorization: Bearer {bearer}\r\n\r\n"), &[400]),
        ("GET / HTTP/1.0\r\n\r\n".into(), &[400]),
        (format!("GET /a b HTTP/1.1\r\n{good}\r\n"), &[400]),
        (format!("GET /<x> HTTP/1.1\r\n{good}\r\n"), &[400]),
        (format!("GET /a\u{e9} HTTP/1.1\r\n{good}\r\n"), &[400]),
        (format!("GET /a/../b HTTP/1.1\r\n{good}\r\n"), &[400]),
        (format!("GET /a/%2e%2e/b HTTP/1.1\r\n{good}\r\n"), &[400]),
        (format!("GET /internal/v1/jwks HTTP/1.1\r\n{good}\r\n"), &[404]),
        ("GET /%69nternal/v1/jwks HTTP/1.1\r\nHost: global.localhost\r\n\r\n".into(), &[404]),
        ("GET //internal/v1/jwks HTTP/1.1\r\nHost: global.localhost\r\n\r\n".into(), &[404]),
        (format!("GET / HTTP/1.1\r\nHost: acme.localhost\r\n{good}\r\n"), &[400]),
        (format!("GET http://globex.localhost/ HTTP/1.1\r\n{good}\r\n"), &[400]),
        (format!("CONNECT acme.localhost:1 HTTP/1.1\r\n{good}\r\n"), &[405, 400]),
        (format!("POST / HTTP/1.1\r\n{good}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"), &[400]),
        (format!("POST / HTTP/1.1\r\n{good}Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n"), &[400]),
        (format!("POST / HTTP/1.0\r\n{good}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), &[400]),
        (format!("POST / HTTP/1.1\r\n{good}Content-Length: 1001\r\n\r\n{}", "x".repeat(1001)), &[413]),
        (format!("GET / HTTP/1.1\r\n{good}X-Large: {large}\r\n\r\n"), &[431]),
        (format!("GET / HTTP/1.1\r\n{good}X-Large: {large}{large}\r\n\r\n"), &[0, 431]),
        (format!("GET / HTTP/1.1\r\n{good}Authorization: Bearer {bearer}\r\n\r\n"), &[401]),
    ];
    for (bytes, statuses) in cases {
        let (status, text) = raw(&site, bytes.as_bytes()).await;
        let shown: String = bytes.chars().take(120).collect();
        assert!(statuses.contains(&status), "{shown:?} got {status}: {text}");
    }
    assert_eq!(site.shared.behaviour.requests.load(Ordering::SeqCst), 0);
    assert_eq!(site.global.as_ref().unwrap().behaviour.requests.load(Ordering::SeqCst), 0);

    let chunked = format!(
        "POST /collect HTTP/1.1\r\n{good}Transfer-Encoding: chunked\r\n\r\n7d0\r\n{}\r\n0\r\n\r\n",
        "x".repeat(2000)
    );
    assert_eq!(raw(&site, chunked.as_bytes()).await.0, 413);
}

/// Its beginning is in the cell already, and is broken off there.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_could_end_in_two_places_is_answered_so_where_it_does() {
    let site = Site::start().await;
    let bearer = token("acme");
    let mut stream = TcpStream::connect(site.router().http).await.unwrap();
    let head = format!(
        "POST /collect HTTP/1.1\r\nHost: acme.localhost\r\nAuthorization: Bearer {bearer}\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ngood\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    until("the cell has it", async || site.shared.behaviour.requests.load(Ordering::SeqCst) > 0).await;
    stream.write_all(b"+4\r\nevil\r\n0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("kept open").unwrap();
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("router/bad-framing"), "{answer}");
    assert_eq!(breaches(&site, "framing").await, 1);
}

/// How often the router closed a connection for this reason.
pub async fn breaches(site: &Site, reason: &str) -> u64 {
    let mark = format!("router_connection_breaches_total{{reason=\"{reason}\"}} ");
    let text = site.admin("/metrics").await.1;
    text.lines().find_map(|line| line.strip_prefix(&mark)?.parse().ok()).unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_no_more_connections_than_it_may_have() {
    let mut site = Site::peers().await;
    site.start_router("connections_per_address = 2").await;
    let ask = format!("GET / HTTP/1.1\r\nHost: acme.localhost\r\nAuthorization: Bearer {}\r\n\r\n", token("acme"));
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(site.router().http).await.unwrap();
        stream.write_all(ask.as_bytes()).await.unwrap();
        let mut begin = [0; 12];
        stream.read_exact(&mut begin).await.unwrap();
        assert_eq!(&begin, b"HTTP/1.1 200");
        held.push(stream);
    }
    assert_eq!(raw(&site, ask.as_bytes()).await.0, 0);
    assert_eq!(breaches(&site, "address").await, 1);
    held.pop();
    let last = ask.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    until("a place is free again", async || raw(&site, last.as_bytes()).await.0 == 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dripped_header_ends_at_the_deadline() {
    let mut site = Site::peers().await;
    site.start_router("header_seconds = 1\nkeepalive_seconds = 2").await;
    let mut stream = TcpStream::connect(site.router().http).await.unwrap();
    let mut drip = tokio::time::interval(Duration::from_millis(100));
    let begun = Instant::now();
    let closed = async {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: acme.localhost\r\n").await?;
        loop {
            stream.write_all(b"x").await?;
            drip.tick().await;
            let mut byte = [0; 1];
            match stream.try_read(&mut byte) {
                Ok(0) => return Ok(()),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                other => return other.map(|_| ()),
            }
        }
    };
    let _: std::io::Result<()> = tokio::time::timeout(PATIENCE, closed).await.expect("kept open");
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    until("the breach is counted", async || breaches(&site, "slow_header").await > 0).await;

    // So does one that might still become the HTTP/2 preface.
    let before = breaches(&site, "slow_header").await;
    let mut slow = TcpStream::connect(site.router().http).await.unwrap();
    let begun = Instant::now();
    slow.write_all(b"PRI * HT").await.unwrap();
    let mut byte = [0; 1];
    let _ = tokio::time::timeout(PATIENCE, slow.read(&mut byte)).await.expect("kept open");
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    until("the breach is counted", async || breaches(&site, "slow_header").await > before).await;

    // A connection that says nothing is closed too.
    let begun = Instant::now();
    let mut silent = TcpStream::connect(site.router().http).await.unwrap();
    let _ = tokio::time::timeout(PATIENCE, silent.read(&mut byte)).await.expect("kept open");
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
    until("the breach is counted", async || breaches(&site, "idle").await > 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_one_after_another_on_one_connection() {
    let site = Site::start().await;
    let mut stream = TcpStream::connect(site.router().http).await.unwrap();
    let bearer = token("acme");
    for turn in 0..3 {
        let body = "x".repeat(turn * 10);
        let request = format!(
            "POST /collect HTTP/1.1\r\nHost: acme.localhost\r\nAuthorization: Bearer {bearer}\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        while !text.ends_with(&format!("Ok({})", body.len())) {
            let mut chunk = vec![0; 4096];
            let read = tokio::time::timeout(PATIENCE, stream.read(&mut chunk)).await.unwrap().unwrap();
            assert!(read > 0, "closed after {text:?}");
            text.push_str(&String::from_utf8_lossy(&chunk[..read]));
        }
        assert!(text.starts_with("HTTP/1.1 100") || body.is_empty(), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_http2_header_is_refused_and_the_connection_lives_on() {
    let site = Site::start().await;
    let client = site.client().http2_prior_knowledge().build().unwrap();
    let ask = |size: usize| {
        let url = site.url("acme.localhost", "/api/v1/streams");
        client.get(url).bearer_auth(token("acme")).header("x-large", "x".repeat(size)).send()
    };
    assert_eq!(ask(20_000).await.unwrap().status().as_u16(), 200);
    let refused = ask(40_000).await;
    assert!(refused.as_ref().map_or(true, |answer| answer.status().as_u16() == 431), "{refused:?}");
    assert_eq!(ask(10).await.unwrap().status().as_u16(), 200);
}
