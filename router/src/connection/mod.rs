//! A client's connection before pingora reads requests from it: counted, and its header bounded in
//! bytes and in total time, which pingora itself bounds only per read.

mod addresses;
mod chunks;
mod guard;
mod handshake;
mod http1;
mod passing;
mod stream;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use async_trait::async_trait;
use pingora::apps::ServerApp;
use pingora::protocols::{ALPN, Stream};
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;

use crate::metrics::{Metrics, ReasonLabel};
use crate::proxy::Proxy;
use crate::shutdown::InFlight;

pub use addresses::Addresses;
pub use guard::{Bounds, Breach, Guard, HeaderRead};
pub use handshake::Handshakes;
pub use passing::Passing;
use stream::{Guarded, PREFACE};

tokio::task_local! {
    /// Guard of the HTTP/1 connection this task serves. HTTP/2 requests run in tasks of their own
    /// and see none: their headers are bounded by the HTTP/2 settings.
    static GUARD: Arc<Guard>;
}

/// The request's header has been read.
pub fn header_read(is_chunked: bool) -> HeaderRead {
    GUARD.try_with(|guard| guard.header_read(is_chunked)).unwrap_or_default()
}

/// The request's last byte has been read; what comes before [`request_over`] waits for it.
pub fn request_read() {
    let _ = GUARD.try_with(|guard| guard.request_read());
}

/// The request is over; the next header's time begins with its first byte.
pub fn request_over() {
    let _ = GUARD.try_with(|guard| guard.request_over(Instant::now()));
}

/// Stands between a listener and the proxy.
pub struct Connection {
    pub proxy: Arc<HttpProxy<Proxy>>,
    pub in_flight: Arc<InFlight>,
    pub metrics: Arc<Metrics>,
    pub bounds: Bounds,
    pub addresses: Arc<Addresses>,
    /// Of a door with TLS, whose connections are counted from their first byte on.
    pub handshakes: Option<Arc<Handshakes>>,
}

/// Counts a connection while it is open.
struct Open(Arc<InFlight>);

impl Open {
    fn new(in_flight: &Arc<InFlight>) -> Self {
        in_flight.connections.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(in_flight))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Connection {
    async fn serve(&self, mut stream: Stream, shutdown: &ShutdownWatch) {
        match is_http2(&mut stream).await {
            Ok(true) => {
                self.proxy.process_new(stream, shutdown).await;
            }
            Ok(false) => http1::serve(&self.proxy, stream, shutdown).await,
            // It has ended before its first request, or waited too long for it.
            Err(_) => {}
        }
    }
}

/// What was agreed on with TLS, or the client's first bytes.
async fn is_http2(stream: &mut Stream) -> std::io::Result<bool> {
    if stream.get_ssl_digest().is_some() {
        return Ok(stream.selected_alpn_proto() == Some(ALPN::H2));
    }
    let mut first = [0; PREFACE.len()];
    stream.try_peek(&mut first).await?;
    Ok(first == *PREFACE)
}

#[async_trait]
impl ServerApp for Connection {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let client = stream.get_socket_digest().and_then(|digest| digest.peer_addr()?.as_inet().copied());
        let place = client.map(|client| match &self.handshakes {
            Some(handshakes) => handshakes.over(client),
            None => self.addresses.enter(client.ip()),
        });
        if matches!(place, Some(None)) {
            self.metrics.breaches.get_or_create(&ReasonLabel { reason: "address" }).inc();
            return None;
        }
        let open = Open::new(&self.in_flight);
        let guard = Arc::new(Guard::new(self.bounds, Instant::now()));
        let guarded: Stream = Box::new(Guarded::new(stream, guard.clone(), self.metrics.clone()));
        // In a task of its own: pingora's keeps the 8 KiB of its TLS handshake for as long as the connection lives.
        let (connection, shutdown) = (Arc::clone(self), shutdown.clone());
        tokio::spawn(async move {
            let _counted = (open, place);
            GUARD.scope(guard, connection.serve(guarded, &shutdown)).await;
        });
        None
    }

    async fn cleanup(&self) {
        self.proxy.cleanup().await;
    }
}
