//! Answers that come before the request's end, and requests that come before the answer's.

use std::sync::atomic::Ordering;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::site::{PATIENCE, Site, until};
use crate::tokens::token;

fn head(method: &str, path: &str, more: &str) -> Vec<u8> {
    let bearer = token("acme");
    let head =
        format!("{method} {path} HTTP/1.1\r\nHost: acme.localhost\r\nAuthorization: Bearer {bearer}\r\n{more}\r\n");
    head.into_bytes()
}

/// Reads until what has come ends with `end`.
async fn answer(stream: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    let read = async {
        while !text.ends_with(end.as_bytes()) {
            let mut piece = [0; 1024];
            let read = stream.read(&mut piece).await.expect("the answer is lost");
            assert!(read > 0, "closed after {:?}", String::from_utf8_lossy(&text));
            text.extend_from_slice(&piece[..read]);
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("no answer");
    String::from_utf8(text).unwrap()
}

/// A client need not wait for one answer to send the next request (RFC 9112, 9.3.2).
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_comes_before_the_answer_to_the_one_before_waits_for_it() {
    let site = Site::start().await;
    let mut stream = TcpStream::connect(site.router().http).await.unwrap();
    for round in 1..=3 {
        site.shared.behaviour.release.send_replace(false);
        stream.write_all(&head("GET", "/held", "")).await.unwrap();
        let seen = || site.shared.behaviour.requests.load(Ordering::SeqCst);
        until("the first request", async || seen() == 3 * round - 2).await;
        stream.write_all(&head("POST", "/collect", "Content-Length: 5\r\n")).await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        let mut another = TcpStream::connect(site.router().http).await.unwrap();
        another.write_all(&head("GET", "/collect", "")).await.unwrap();
        answer(&mut another, "Ok(0)").await;
        site.shared.behaviour.release.send_replace(true);
        let both = answer(&mut stream, "Ok(5)").await;
        assert_eq!(both.matches("HTTP/1.1 200").count(), 2, "{both}");
        assert!(both.contains("held but whole"), "{both}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_illegal_target_is_refused_though_it_came_early() {
    let site = Site::start().await;
    let mut stream = TcpStream::connect(site.router().http).await.unwrap();
    stream.write_all(&head("GET", "/held", "")).await.unwrap();
    until("the first request", async || site.shared.behaviour.requests.load(Ordering::SeqCst) == 1).await;
    stream.write_all(&head("GET", "/a b", "")).await.unwrap();
    site.shared.behaviour.release.send_replace(true);
    let both = answer(&mut stream, "}").await;
    assert!(both.contains("held but whole") && both.contains("HTTP/1.1 400"), "{both}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peers_refusal_reaches_a_client_that_still_sends() {
    let site = Site::start().await;
    for _ in 0..10 {
        let mut stream = TcpStream::connect(site.router().http).await.unwrap();
        stream.write_all(&head("POST", "/refused-early", "Content-Length: 800000\r\n")).await.unwrap();
        let piece = vec![b'x'; 80_000];
        stream.write_all(&piece).await.unwrap();
        let refused = answer(&mut stream, "refused unread").await;
        assert!(refused.starts_with("HTTP/1.1 403"), "{refused}");
        assert!(refused.to_lowercase().contains("connection: close"), "{refused}");
        for _ in 1..10 {
            stream.write_all(&piece).await.expect("closed on a client that still sends");
        }
    }
}
