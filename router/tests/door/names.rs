//! Cells whose addresses are names.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use contracts::CellId;
use contracts::routing::{CellEndpoint, Change};
use parking_lot::Mutex;
use tokio::net::UdpSocket;

use crate::peer::{self, Peer};
use crate::site::{Site, until};
use crate::tokens::token;

const NAME: &str = "gateway.shared-1.test";

/// A name server that knows one name.
struct NameServer {
    address: SocketAddr,
    leads_to: Arc<Mutex<Vec<Ipv4Addr>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl NameServer {
    async fn start(leads_to: &[[u8; 4]]) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let leads_to: Arc<Mutex<Vec<Ipv4Addr>>> =
            Arc::new(Mutex::new(leads_to.iter().copied().map(Into::into).collect()));
        let known = leads_to.clone();
        let task = tokio::spawn(async move {
            let mut asked = [0_u8; 512];
            while let Ok((length, client)) = socket.recv_from(&mut asked).await {
                let answer = answer(&asked[..length], &known.lock());
                let _ = socket.send_to(&answer, client).await;
            }
        });
        Self { address, leads_to, task }
    }

    fn lead_to(&self, addresses: &[[u8; 4]]) {
        *self.leads_to.lock() = addresses.iter().copied().map(Into::into).collect();
    }

    /// Lines of a router's configuration that ask here.
    fn config(&self) -> String {
        format!("[discovery]\nservers = ['{}']", self.address)
    }
}

/// RFC 1035, 4: the question again, and an address record of one second for each address; another name does not exist.
fn answer(asked: &[u8], addresses: &[Ipv4Addr]) -> Vec<u8> {
    let name: Vec<u8> = NAME.split('.').flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat()).collect();
    let question_ends = 12 + asked[12..].iter().position(|byte| *byte == 0).unwrap() + 5;
    let question = &asked[12..question_ends];
    let is_known = question[..question.len() - 5] == name;
    let is_of_v4 = question[question.len() - 4..] == [0, 1, 0, 1];
    let addresses = if is_known && is_of_v4 { addresses } else { &[] };
    let mut answer = [&asked[..2], &[0x81, if is_known { 0x80 } else { 0x83 }]].concat();
    answer.extend([0, 1, 0, addresses.len() as u8, 0, 0, 0, 0]);
    answer.extend(question);
    for address in addresses {
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4]);
        answer.extend(address.octets());
    }
    answer
}

/// The shared cell is at this name now, on the ports at which its stand-ins listen.
fn named(site: &mut Site, name: &str) {
    let (http, flight) = (site.shared.address.port(), site.shared_sql.address.port());
    let cell = CellId::new("shared-1").unwrap();
    let endpoint =
        CellEndpoint { cell, http: format!("{name}:{http}"), flight: format!("{name}:{flight}"), door: None };
    site.change(Change::CellUpserted { endpoint });
}

/// Status, and which stand-in answered.
async fn asked(site: &Site) -> (u16, String) {
    let url = site.url("acme.localhost", "/api/v1/streams");
    let answer = site.client().build().unwrap().get(url).bearer_auth(token("acme")).send().await.unwrap();
    let status = answer.status().as_u16();
    let said: serde_json::Value = answer.json().await.unwrap();
    (status, said["peer"].as_str().or(said["code"].as_str()).unwrap_or_default().to_owned())
}

/// Another stand-in for the shared cell, on the same port of another address.
fn elsewhere(site: &Site, ip: [u8; 4]) -> Peer {
    let listener = std::net::TcpListener::bind((Ipv4Addr::from(ip), site.shared.address.port())).unwrap();
    listener.set_nonblocking(true).unwrap();
    let spiffe = "spiffe://cytoplane/shared-1/gateway";
    peer::start_on(listener, "elsewhere", site.authority.server("gateway.shared-1.cytoplane.internal", spiffe))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_followed_and_served_on_when_nobody_answers_it() {
    let server = NameServer::start(&[[127, 0, 0, 1]]).await;
    let mut site = Site::peers().await;
    site.start_router(&server.config()).await;
    named(&mut site, NAME);
    site.wait_for_metric("router_table_version 11").await;
    until("the name is known", async || asked(&site).await == (200, "shared-1".to_owned())).await;
    let other = elsewhere(&site, [127, 0, 0, 2]);
    server.lead_to(&[[127, 0, 0, 2]]);
    until("the name leads elsewhere", async || asked(&site).await == (200, "elsewhere".to_owned())).await;
    let explained = site.admin("/routes/acme.localhost").await.1;
    assert!(explained.contains("\"leadsTo\":[\"127.0.0.2\"]"), "{explained}");

    // An answer without an address is none; nor is silence.
    server.lead_to(&[]);
    let failures = "router_feed_failures_total{feed=\"names\"}";
    until("it is missed", async || site.admin("/metrics").await.1.contains(failures)).await;
    let config = server.config();
    drop(server);
    assert_eq!(asked(&site).await, (200, "elsewhere".to_owned()));
    for kind in ["routing", "keys", "names"] {
        site.wait_for_snapshot(kind).await;
    }
    until("the table is kept", async || !site.snapshots("routing").iter().any(|path| path.ends_with("10.snap"))).await;
    site.stop_global().await;
    drop(site.router.take());
    site.start_router(&config).await;
    assert_eq!(asked(&site).await, (200, "elsewhere".to_owned()), "it does not know what it knew");
    drop(other);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_gone_is_passed_over_and_an_unknown_name_is_said() {
    // Nobody listens at the first; longer than anybody here waits for it.
    let server = NameServer::start(&[[127, 0, 0, 3], [127, 0, 0, 1]]).await;
    let mut site = Site::peers().await;
    site.start_router(&format!("cell_wait_ms = 60000\n{}", server.config())).await;
    named(&mut site, NAME);
    site.wait_for_metric("router_table_version 11").await;
    until("the name is known", async || asked(&site).await.0 == 200).await;
    for _ in 0..20 {
        assert_eq!(asked(&site).await, (200, "shared-1".to_owned()));
    }
    named(&mut site, "nobody.test");
    site.wait_for_metric("router_table_version 12").await;
    assert_eq!(asked(&site).await, (503, "router/cell-unavailable".to_owned()));
    assert!(!site.router().said().contains("panicked"));
}
