//! Names whose TLS ends in a cell's own door, on the port on which other names' ends at the router.

use std::sync::Arc;

use contracts::routing::{CellEndpoint, Change};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::site::{Site, route, until};
use crate::tokens::token;

const NAME: &str = "data.globex.example";

/// A door of its own, with its own certificate: it sends back what it gets.
struct OwnDoor {
    address: std::net::SocketAddr,
    certificate: CertificateDer<'static>,
    task: tokio::task::JoinHandle<()>,
}

impl OwnDoor {
    async fn open() -> Self {
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
        let certificate = made.cert.der().clone();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let config = ServerConfig::builder().with_no_client_auth();
        let config = config.with_single_cert(vec![certificate.clone()], key).unwrap();
        let (acceptor, listener) =
            (TlsAcceptor::from(Arc::new(config)), TcpListener::bind("127.0.0.1:0").await.unwrap());
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    if let Ok(mut stream) = acceptor.accept(stream).await {
                        let (mut from, mut to) = tokio::io::split(&mut stream);
                        let _ = tokio::io::copy(&mut from, &mut to).await;
                        let _ = to.shutdown().await;
                    }
                });
            }
        });
        Self { address, certificate, task }
    }

    /// TLS with whoever is behind the router's port for the name, trusted only if it is this door.
    async fn reached_through(&self, site: &Site) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let stream = TcpStream::connect(site.router().https).await?;
        TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(NAME).unwrap(), stream).await
    }
}

/// Globex has a domain of its own, and its cell a door.
async fn with_door(door: &OwnDoor) -> Site {
    let mut site = Site::start().await;
    let cell = contracts::CellId::new("dedicated-1").unwrap();
    let (http, flight) = (site.dedicated.address.to_string(), site.dedicated.address.to_string());
    let endpoint = CellEndpoint { cell, http, flight, door: Some(door.address.to_string()) };
    site.change(Change::CellUpserted { endpoint });
    let mut globex = route("globex", "dedicated-1", 3);
    globex.hosts.push(NAME.to_owned());
    site.change(Change::TenantPlaced { route: globex });
    site.wait_for_metric("router_table_version 12").await;
    site
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_passed_on_and_others_end_here() {
    let door = OwnDoor::open().await;
    let site = with_door(&door).await;
    let mut stream = door.reached_through(&site).await.unwrap();
    let sent: Vec<u8> = (0..1_000_000u32).map(|n| (n % 251) as u8).collect();
    let (mut from, mut to) = tokio::io::split(&mut stream);
    let (sending, mut back) = (sent.clone(), Vec::new());
    let (sent_all, read_all) = tokio::join!(
        async {
            to.write_all(&sending).await?;
            to.shutdown().await
        },
        from.read_to_end(&mut back)
    );
    sent_all.unwrap();
    read_all.unwrap();
    assert!(back == sent, "{} of {} bytes came back as they were sent", back.len(), sent.len());
    site.wait_for_metric("router_passed_connections_total 1").await;
    let line = site.logged("").await;
    let told = (&line["method"], &line["host"], &line["tenant"], &line["cell"], &line["status"], &line["generation"]);
    assert_eq!(
        told,
        (&"CONNECT".into(), &NAME.into(), &"globex".into(), &"dedicated-1".into(), &200.into(), &3.into())
    );
    assert!(line["bytes_in"].as_u64() > Some(1_000_000) && line["bytes_out"].as_u64() > Some(1_000_000), "{line}");

    // Other names end at the router, on the same port.
    let root = reqwest::Certificate::from_pem(site.authority.pem().as_bytes()).unwrap();
    let client = reqwest::Client::builder().no_proxy().add_root_certificate(root);
    let client = client.resolve("acme.localhost", site.router().https).build().unwrap();
    let url = format!("https://acme.localhost:{}/anything", site.router().https.port());
    assert_eq!(client.get(url).bearer_auth(token("acme")).send().await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_of_which_the_router_has_a_certificate_ends_here() {
    let door = OwnDoor::open().await;
    let site = with_door(&door).await;
    assert!(door.reached_through(&site).await.is_ok());
    let folder = site.folder.path().join("names").join(NAME);
    std::fs::create_dir_all(&folder).unwrap();
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    std::fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
    until("the router's own", async || door.reached_through(&site).await.is_err()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_door_that_is_gone_ends_the_connection_and_is_told() {
    let door = OwnDoor::open().await;
    let site = with_door(&door).await;
    door.task.abort();
    until("the door is gone", async || TcpStream::connect(door.address).await.is_err()).await;
    assert!(door.reached_through(&site).await.is_err());
    let line = site.logged("").await;
    assert_eq!((&line["status"], &line["host"]), (&502.into(), &NAME.into()), "{line}");
    assert!(line["error"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hello_that_does_not_end_is_not_waited_for() {
    let door = OwnDoor::open().await;
    let mut site = with_door(&door).await;
    drop(site.router.take());
    site.start_router("header_seconds = 1").await;
    site.wait_for_metric("router_table_version 12").await;
    let mut stream = TcpStream::connect(site.router().https).await.unwrap();
    // A handshake of 512 bytes that stays at its beginning.
    stream.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc]).await.unwrap();
    let mut end = Vec::new();
    let read = tokio::time::timeout(crate::site::PATIENCE, stream.read_to_end(&mut end)).await.unwrap();
    assert!(read.is_err() || end.is_empty(), "{end:?}");
}
