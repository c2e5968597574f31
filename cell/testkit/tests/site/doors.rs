//! Calls that skip the router: every port of a cell opens only to the callers it declares.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use contracts::services::{GATEWAY, GLOBAL, ROUTER, SERVICES, STREAMING, ServiceDeclaration, TENANT_MOVE, declared};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kit::peers::PeerHttp;
use kit::tls::{Identity, server_name};
use reqwest::Method;
use rustls_pki_types::ServerName;
use testkit::Answer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::world::{DEDICATED, SHARED, World};

/// Bounds a hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a caller forges to look like the router or the gateway.
fn forged(address: SocketAddr, tenant: &str) -> anyhow::Result<http::Request<String>> {
    let request = http::Request::get(format!("https://{address}/api/v1/datasets"))
        .header("x-cyto-tenant", tenant)
        .header("x-cyto-cell", SHARED)
        .header("x-cyto-generation", "1")
        .header("x-cyto-actor", "service:gateway")
        .header("x-cyto-scopes", "*");
    Ok(request.body(String::new())?)
}

/// `true` when the port let the request through to a handler. On one connection, without a client's pool around it: a
/// pool that is refused right after its handshake may wait for a connection that nobody makes.
async fn gets_in(identity: &Identity, service: &str, address: SocketAddr, tenant: &str) -> anyhow::Result<bool> {
    let (name, connector) = (server_name(SHARED, service), TlsConnector::from(Arc::new(identity.client()?)));
    let request = forged(address, tenant)?;
    let asked = async {
        let tls = connector.connect(ServerName::try_from(name)?, TcpStream::connect(address).await?).await?;
        let (mut client, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(tls)).await?;
        let connection = tokio::spawn(connection);
        let answer = client.send_request(request).await;
        connection.abort();
        anyhow::Ok(answer?.status())
    };
    match tokio::time::timeout(PATIENCE, asked).await {
        // Silence is no refusal.
        Err(_) => bail!("{service} at {address} does not answer"),
        Ok(Err(_)) => Ok(false),
        Ok(Ok(status)) => Ok(status != http::StatusCode::FORBIDDEN),
    }
}

fn ports(service: &contracts::services::ServiceDeclaration) -> impl Iterator<Item = u16> {
    [Some(service.http_port), service.flight_port].into_iter().flatten()
}

fn address(world: &World, port: u16) -> anyhow::Result<SocketAddr> {
    let ip: IpAddr = world.site.cell_address(SHARED).context("no such cell")?;
    Ok(SocketAddr::new(ip, port))
}

/// Every service's certificate at every other service's ports.
pub async fn only_declared_callers_get_in(world: Arc<World>) -> anyhow::Result<()> {
    let dir = world.site.cell_dir(SHARED).join("identity");
    let router = Identity::load(&world.site.state().join("router/identity"), ROUTER)?;
    for target in SERVICES {
        for port in ports(target) {
            let address = address(&world, port)?;
            for caller in SERVICES.iter().map(|s| s.name).filter(|name| *name != target.name) {
                let identity = Identity::load(&dir, caller)?;
                let got_in = gets_in(&identity, target.name, address, &world.acme.id).await;
                let got_in = got_in.with_context(|| format!("asked by {caller}"))?;
                let declared = target.callers.contains(&caller);
                ensure!(got_in == declared, "{caller} at {}:{port}: got in {got_in}, declared {declared}", target.name);
            }
            let got_in = gets_in(&router, target.name, address, &world.acme.id).await?;
            ensure!(got_in == target.callers.contains(&ROUTER), "the router at {}:{port}: {got_in}", target.name);
        }
    }
    Ok(())
}

/// A certificate of the same name from another cell is another identity, but for `tenant-move`, which takes from another
/// cell's what that has been told to give.
pub async fn another_cells_services_do_not_get_in(world: Arc<World>) -> anyhow::Result<()> {
    let dir = world.site.cell_dir(DEDICATED).join("identity");
    for target in SERVICES {
        for caller in SERVICES.iter().filter(|s| target.callers.contains(&s.name)) {
            let identity = Identity::load(&dir, caller.name)?;
            let address = address(&world, target.http_port)?;
            let got_in = gets_in(&identity, target.name, address, &world.acme.id).await?;
            let may = caller.name == target.name;
            ensure!(got_in == may, "{DEDICATED}'s {} at {SHARED}'s {}: {got_in}", caller.name, target.name);
        }
    }
    Ok(())
}

/// A tenant's rows and objects: for this cell's `tenant-move` alone, and for another's once they were promised.
pub async fn nobody_takes_a_tenant_that_was_not_promised(world: Arc<World>) -> anyhow::Result<()> {
    let own = world.site.cell_dir(SHARED).join("identity");
    let (tenant, streaming) = (&world.acme.id, declared(STREAMING));
    let ask = async |identity: &Identity, target: &ServiceDeclaration, method: Method, path: &str| {
        let peer = PeerHttp::new(identity, &server_name(SHARED, target.name), address(&world, target.http_port)?)?;
        Answer::of(peer.plain(method, path).timeout(PATIENCE)).await
    };
    let rows = format!("/internal/v1/moving/{tenant}/rows");
    for method in [Method::GET, Method::DELETE, Method::PUT] {
        let path = format!("{rows}?generation=1000000");
        let answer = ask(&Identity::load(&own, GATEWAY)?, streaming, method, &path).await?;
        ensure!(answer.refused(&[403])?["code"] == "moving/not-the-mover", "{}", answer.excerpt());
    }
    let elsewhere = Identity::load(&world.site.cell_dir(DEDICATED).join("identity"), TENANT_MOVE)?;
    let mover = declared(TENANT_MOVE);
    for path in ["objects", "rows/streaming"] {
        let path = format!("/internal/v1/moves/{tenant}/{path}");
        let answer = ask(&elsewhere, mover, Method::GET, &path).await?;
        ensure!(answer.refused(&[403])?["code"] == "move/not-promised", "{}", answer.excerpt());
    }
    for step in ["promise", "fence?generation=1000000", "clean?generation=1000000", "close", "settle"] {
        let method = if step == "promise" { Method::PUT } else { Method::POST };
        let answer = ask(&elsewhere, mover, method, &format!("/internal/v1/moves/{tenant}/{step}")).await?;
        ensure!(answer.refused(&[403])?["code"] == "move/not-the-leader", "{step}: {}", answer.excerpt());
    }
    Ok(())
}

/// Without a certificate there is no handshake; without TLS there is no answer.
pub async fn strangers_do_not_get_in(world: Arc<World>) -> anyhow::Result<()> {
    for target in SERVICES {
        for port in ports(target) {
            let address = address(&world, port)?;
            let anonymous =
                reqwest::Client::builder().danger_accept_invalid_certs(true).timeout(PATIENCE).no_proxy().build()?;
            let request = anonymous.get(format!("https://{address}/api/v1/datasets")).bearer_auth(world.acme.token());
            let answer = request.send().await;
            let refused = answer.as_ref().is_err_and(|error| !error.is_timeout());
            ensure!(refused, "{}:{port} did not refuse a caller without a certificate: {answer:?}", target.name);
            let answer = plainly(address).await?;
            ensure!(!answer.starts_with("HTTP/1.1 2"), "{}:{port} answered without TLS: {answer}", target.name);
        }
    }
    Ok(())
}

async fn plainly(address: SocketAddr) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET /api/v1/datasets HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await?;
    let mut answer = vec![0_u8; 1024];
    // A reset is as good a refusal as an alert.
    let read = tokio::time::timeout(PATIENCE, stream.read(&mut answer)).await;
    let length = read.context("neither an answer nor an end")?.unwrap_or(0);
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

/// The internal feeds of the global plane are not reachable through the router.
pub async fn internal_feeds_are_not_public(world: Arc<World>) -> anyhow::Result<()> {
    let placements = format!("/internal/v1/cells/{SHARED}/placements");
    for path in [
        "/internal/v1/routing",
        "/internal/v1/shares",
        &placements,
        "/internal/v1/jwks",
        "/internal/v1/revocations",
        "/internal/v1/contracts/bundle",
    ] {
        for host in ["global", world.acme.id.as_str()] {
            let request = world.http.request(Method::GET, host, path).bearer_auth(world.admin.token());
            let answer = testkit::Answer::of(request).await?;
            answer.refused(&[404]).with_context(|| format!("{host}{path}"))?;
        }
    }
    Ok(())
}

/// A cell's certificate opens the placements of its own tenants and nothing else of the routing log; the router's
/// opens the log.
pub async fn a_cell_hears_of_its_own_tenants_only(world: Arc<World>) -> anyhow::Result<()> {
    let placements = |cell: &str| format!("/internal/v1/cells/{cell}/placements");
    let gateway = Identity::load(&world.site.cell_dir(SHARED).join("identity"), GATEWAY)?;
    let router = Identity::load(&world.site.state().join("router/identity"), ROUTER)?;
    let cases = [
        (&gateway, placements(SHARED), 200),
        (&gateway, placements(DEDICATED), 403),
        (&gateway, "/internal/v1/routing".to_owned(), 403),
        (&router, "/internal/v1/routing".to_owned(), 200),
        (&router, placements(SHARED), 403),
    ];
    for (identity, path, status) in cases {
        let global = PeerHttp::new(identity, &server_name(GLOBAL, GLOBAL), world.site.global_address())?;
        // The body has no end: the status is the answer.
        let answer = tokio::time::timeout(PATIENCE, global.plain(Method::GET, &path).send()).await??;
        ensure!(answer.status().as_u16() == status, "{path} was answered {}", answer.status());
    }
    Ok(())
}
