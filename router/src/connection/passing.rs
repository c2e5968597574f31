//! TLS that ends in a cell's own door goes through as it comes (docs/adr/0024-names-that-are-passed-on.md): whose it is
//! is read from its first bytes, and neither a key nor a byte of what is said is the router's.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use contracts::TraceParent;
use pingora::listeners::PreTlsProcess;
use pingora::protocols::GetSocketDigest;
use pingora::protocols::l4::stream::Stream;
use pingora::{Error, ErrorType};
use time::OffsetDateTime;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::net::TcpStream;
use tokio::time::{Instant as Moment, sleep_until, timeout};

use super::Open;
use super::addresses::{Addresses, Place};
use super::handshake::{self, Handshakes};
use crate::access_log::Line;
use crate::decision::Door;
use crate::proxy::Shared;
use crate::table::Seat;
use crate::target::host_of;
use crate::tls::{Asked, Hello, Names};

/// Of a client's hello: more than any client says, less than anybody is let hold.
const MOST_HELLO: usize = 16 * 1024;
/// What each direction holds.
const PIECE: usize = 16 * 1024;

/// Stands before the handshakes of one door.
#[derive(Clone)]
pub struct Passing {
    pub shared: Arc<Shared>,
    pub door: Door,
    pub names: Arc<Names>,
    pub addresses: Arc<Addresses>,
    pub handshakes: Arc<Handshakes>,
}

/// Where a connection goes.
struct Way {
    host: String,
    tenant: contracts::TenantId,
    cell: contracts::CellId,
    generation: u64,
    address: SocketAddr,
}

#[async_trait]
impl PreTlsProcess for Passing {
    /// An error ends pingora's part in the connection.
    async fn process(&self, stream: &mut Stream) -> pingora::Result<()> {
        let Shared { knowledge, limits, .. } = &*self.shared;
        let client = stream.get_socket_digest().and_then(|digest| digest.peer_addr()?.as_inet().copied());
        let Some(client) = client else { return Ok(()) };
        let Some(place) = self.addresses.enter(client.ip()) else {
            knowledge.metrics.breach("address");
            return Err(Error::explain(ErrorType::AcceptError, "its address has too many connections"));
        };
        let (begun, most) = (Instant::now(), limits.header_time());
        if knowledge.view().has_doors() {
            let Ok((said, name)) = timeout(most, hello(stream)).await else {
                knowledge.metrics.breach("slow_handshake");
                return Err(Error::explain(ErrorType::ReadTimedout, "no hello"));
            };
            if let Some(way) = name.and_then(|name| self.way(&name)) {
                // pingora bounds what is done here in time, and a connection may last.
                let taken = std::mem::replace(stream, handshake::nothing());
                tokio::spawn(self.clone().pass(taken, said, way, client, place));
                return Err(Error::explain(ErrorType::CustomCode("passed on", 0), "it ends elsewhere"));
            }
            stream.rewind(&said);
        }
        self.handshakes.watch(stream, client, place, most.saturating_sub(begun.elapsed()), &knowledge.metrics);
        Ok(())
    }
}

/// Reads until it is known whom the client asks for: what was read, and the name.
async fn hello(stream: &mut Stream) -> (Vec<u8>, Option<String>) {
    let (mut reading, mut said, mut piece) = (Hello::default(), Vec::new(), [0; 2048]);
    while said.len() < MOST_HELLO {
        let Ok(read @ 1..) = stream.read(&mut piece).await else { break };
        let read = piece.get(..read).unwrap_or_default();
        said.extend_from_slice(read);
        match reading.feed(read) {
            Asked::Partly => {}
            Asked::For(name) => return (said, Some(name)),
            Asked::Nobody => break,
        }
    }
    (said, None)
}

impl Passing {
    /// Where a name's TLS ends, if that is not here: whoever has its certificate ends it.
    fn way(&self, name: &str) -> Option<Way> {
        let Shared { knowledge, rules, .. } = &*self.shared;
        let host = host_of(name.as_bytes())?;
        let is_ours = rules.global_hosts.contains(&host) || host.ends_with(&rules.tenant_suffix);
        if is_ours || self.names.has(&host, Instant::now()) {
            return None;
        }
        let view = knowledge.view();
        let seat = view.by_host(&host).filter(|seat| rules.serve(seat.tenant, &view));
        let Seat { tenant, cell, generation, .. } = seat?;
        let entrance = knowledge.names().entrance(view.door(cell)?, 0, |_| false)?;
        let (tenant, cell) = (contracts::TenantId::new(tenant).ok()?, cell.clone());
        Some(Way { host, tenant, cell, generation: generation.0, address: entrance.address })
    }

    async fn pass(self, client: Stream, said: Vec<u8>, way: Way, from: SocketAddr, _place: Place) {
        let metrics = &self.shared.knowledge.metrics;
        let (_open, begun, passed) = (Open::new(&self.shared.in_flight), Instant::now(), Passed::default());
        let reached = timeout(self.shared.limits.connect(), TcpStream::connect(way.address)).await;
        let outcome = match reached {
            Ok(Ok(cell)) => {
                metrics.passed_connections.inc();
                let _ = cell.set_nodelay(true);
                tunnel(client, cell, &said, &passed, self.shared.limits.passed_idle()).await
            }
            Ok(Err(error)) => Err(error.kind()),
            Err(_) => Err(std::io::ErrorKind::TimedOut),
        };
        self.shared.access_log.put(self.line(way, from, begun, &passed, outcome.err()));
    }

    fn line(
        &self,
        way: Way,
        client: SocketAddr,
        begun: Instant,
        passed: &Passed,
        error: Option<std::io::ErrorKind>,
    ) -> Line {
        let Passed { there, back, .. } = passed;
        Line {
            time: OffsetDateTime::now_utc(),
            listener: self.door.name(),
            request_id: uuid::Uuid::now_v7().to_string(),
            trace_id: TraceParent::begin(rand::random(), false),
            method: http::Method::CONNECT,
            host: way.host,
            path: String::new(),
            version: "tls",
            status: if there.load(Ordering::Relaxed) > 0 { 200 } else { 502 },
            refused: None,
            error: error.map(|kind| kind.to_string()),
            tenant: Some(way.tenant),
            cell: Some(way.cell),
            generation: Some(way.generation),
            attempts: 1,
            bytes_in: there.load(Ordering::Relaxed),
            bytes_out: back.load(Ordering::Relaxed),
            ms: begun.elapsed().as_micros() as f64 / 1000.0,
            upstream_ms: None,
            added_ms: None,
            client: Some(client),
        }
    }
}

/// Bytes that went through, and when the last ones did.
struct Passed {
    begun: Moment,
    /// Milliseconds after the beginning.
    last: AtomicU64,
    there: AtomicU64,
    back: AtomicU64,
}

impl Default for Passed {
    fn default() -> Self {
        let none = || AtomicU64::new(0);
        Self { begun: Moment::now(), last: none(), there: none(), back: none() }
    }
}

impl Passed {
    fn count(&self, way: &AtomicU64, bytes: usize) {
        way.fetch_add(bytes as u64, Ordering::Relaxed);
        let at = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(at, Ordering::Relaxed);
    }

    /// Ends when nothing has gone through for so long.
    async fn idle(&self, most: Duration) {
        loop {
            let until = self.begun + Duration::from_millis(self.last.load(Ordering::Relaxed)) + most;
            if until <= Moment::now() {
                return;
            }
            sleep_until(until).await;
        }
    }
}

/// Carries both ways until both have ended, one breaks, or nothing comes for too long.
async fn tunnel(
    client: Stream,
    mut cell: TcpStream,
    said: &[u8],
    passed: &Passed,
    idle: Duration,
) -> Result<(), std::io::ErrorKind> {
    cell.write_all(said).await.map_err(|error| error.kind())?;
    passed.count(&passed.there, said.len());
    let ((from_client, to_client), (from_cell, to_cell)) = (split(client), cell.split());
    let there = carry(from_client, to_cell, |bytes| passed.count(&passed.there, bytes));
    let back = carry(from_cell, to_client, |bytes| passed.count(&passed.back, bytes));
    tokio::select! {
        ended = async { tokio::try_join!(there, back) } => ended.map(drop).map_err(|error| error.kind()),
        () = passed.idle(idle) => Err(std::io::ErrorKind::TimedOut),
    }
}

async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    count: impl Fn(usize),
) -> std::io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        let read = from.read(&mut piece).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(piece.get(..read).unwrap_or_default()).await?;
        to.flush().await?;
        count(read);
    }
}
