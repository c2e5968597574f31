//! The way to a cell or to the global plane: peers, and the headers that cross.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use contracts::headers as names;
use http::{HeaderName, HeaderValue};
use pingora::http::RequestHeader;
use pingora::upstreams::peer::{HttpPeer, PeerOptions};
use pingora::utils::tls::CertKey;

use super::exchange::Exchange;
use crate::config::Limits;
use crate::decision::Destination;
use crate::headers;
use crate::table::Entrance;

/// Receive window of one stream from a cell: what a slow client can make the router hold.
const STREAM_WINDOW: u32 = 256 * 1024;
const PING_EVERY: Duration = Duration::from_secs(20);

/// Makes the peers of all cells.
pub struct Peers {
    key: Arc<CertKey>,
    options: PeerOptions,
    pub global: Entrance,
}

impl Peers {
    pub fn new(key: Arc<CertKey>, limits: &Limits, global: SocketAddr) -> Self {
        let mut options = PeerOptions::new();
        options.set_http_version(2, 2);
        options.max_h2_streams = limits.upstream_streams;
        options.h2_stream_window_size = Some(STREAM_WINDOW);
        // Room for every stream's window, so that slow clients do not hold up the others.
        let streams = u32::try_from(limits.upstream_streams).unwrap_or(u32::MAX);
        options.h2_connection_window_size = Some(STREAM_WINDOW.saturating_mul(streams).min((1 << 31) - 1));
        options.h2_ping_interval = Some(PING_EVERY);
        options.connection_timeout = Some(limits.connect());
        options.total_connection_timeout = Some(limits.connect());
        options.read_timeout = Some(limits.stream_idle());
        options.write_timeout = Some(limits.stream_idle());
        options.idle_timeout = Some(limits.keepalive());
        Self { key, options, global: Entrance::new(global, crate::feed::GLOBAL_NAME.into()) }
    }

    pub fn entrance<'a>(&'a self, destination: &'a Destination) -> &'a Entrance {
        match destination {
            Destination::Cell(placement) => &placement.entrance,
            Destination::Global => &self.global,
        }
    }

    /// The peer of a destination. Pools are kept apart by the peer's name, which holds the cell's.
    pub fn peer(&self, destination: &Destination) -> HttpPeer {
        let entrance = self.entrance(destination);
        let mut peer = HttpPeer::new(entrance.address, true, entrance.name.clone());
        peer.client_cert_key = Some(self.key.clone());
        peer.group_key = entrance.key;
        peer.options = self.options.clone();
        peer
    }
}

/// Makes the client's header the router's: strips what the client may not say, adds what it knows.
pub fn cross(
    request: &mut RequestHeader,
    exchange: &Exchange,
    client: Option<SocketAddr>,
    tls: bool,
) -> pingora::Result<()> {
    let client_id = request.headers.get(names::REQUEST_ID).filter(|id| headers::is_request_id(id.as_bytes())).cloned();
    let stripped: Vec<HeaderName> =
        request.headers.keys().filter(|name| headers::is_stripped(name.as_str())).cloned().collect();
    for name in &stripped {
        request.remove_header(name);
    }
    if !exchange.continued {
        request.remove_header(headers::TRACESTATE);
    }
    request.insert_header(names::REQUEST_ID, exchange.request_id.as_str())?;
    if let Some(id) = client_id {
        request.insert_header(headers::CLIENT_REQUEST_ID, id)?;
    }
    request.insert_header(names::TRACEPARENT, exchange.place.to_string())?;
    let proto = if tls { "https" } else { "http" };
    let ip = client.map(|client| client.ip());
    request.insert_header(headers::FORWARDED, headers::forwarded(ip, &exchange.host, tls))?;
    request.insert_header("x-forwarded-proto", proto)?;
    request.insert_header("x-forwarded-host", exchange.host.as_str())?;
    if let Some(ip) = ip {
        request.insert_header("x-forwarded-for", ip.to_string())?;
    }
    if let Some(placement) = exchange.placement() {
        request.insert_header(names::TENANT, placement.tenant.as_str())?;
        request.insert_header(names::CELL, placement.cell.as_str())?;
        request.insert_header(names::GENERATION, HeaderValue::from(placement.generation.0))?;
    }
    Ok(())
}

/// Takes the platform's own headers out of what a client is shown.
pub fn conceal(shown: &http::HeaderMap) -> Vec<HeaderName> {
    shown.keys().filter(|name| headers::is_reserved(name.as_str())).cloned().collect()
}
