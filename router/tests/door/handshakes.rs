//! Clients that begin TLS and do not end it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::{ClientConfig, ClientConnection, RootCertStore};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::hostile::breaches;
use crate::site::{PATIENCE, Site, until};
use crate::tokens::token;

/// A whole hello, after which the server speaks and waits.
fn hello() -> Vec<u8> {
    let config = ClientConfig::builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    let name = ServerName::try_from("acme.localhost").unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut said = Vec::new();
    client.write_tls(&mut said).unwrap();
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_does_not_end_is_not_waited_for() {
    let mut site = Site::peers().await;
    site.start_router("header_seconds = 1").await;
    for (times, said) in [Vec::new(), hello()[..100].to_vec(), hello()].into_iter().enumerate() {
        let begun = Instant::now();
        let mut stream = TcpStream::connect(site.router().https).await.unwrap();
        stream.write_all(&said).await.unwrap();
        // The server's own part of it may come, and then the end.
        let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut Vec::new())).await;
        let _ = ended.expect("kept open");
        assert!(begun.elapsed() >= Duration::from_secs(1), "{:?} after {} bytes", begun.elapsed(), said.len());
        until("the breach is counted", async || breaches(&site, "slow_handshake").await == times as u64 + 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_counted_before_its_handshake() {
    let mut site = Site::peers().await;
    site.start_router("connections_per_address = 2").await;
    let silent = |address| async move { TcpStream::connect(address).await.unwrap() };
    let (one, _other) = (silent(site.router().https).await, silent(site.router().https).await);
    until("a third is turned away", async || {
        let mut third = silent(site.router().https).await;
        matches!(tokio::time::timeout(PATIENCE, third.read(&mut [0; 1])).await.unwrap(), Ok(0) | Err(_))
    })
    .await;
    assert!(breaches(&site, "address").await >= 1);
    drop(one);
    let root = reqwest::Certificate::from_pem(site.authority.pem().as_bytes()).unwrap();
    let client = reqwest::Client::builder().no_proxy().add_root_certificate(root);
    let client = client.resolve("acme.localhost", site.router().https).build().unwrap();
    let url = format!("https://acme.localhost:{}/api/v1/streams", site.router().https.port());
    until("a place is free again", async || {
        client.get(&url).bearer_auth(token("acme")).send().await.is_ok_and(|answer| answer.status().as_u16() == 200)
    })
    .await;
}
