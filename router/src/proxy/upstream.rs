//! The way to a cell or to the global plane: peers, and the headers that cross.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use contracts::headers as names;
use http::header::{AUTHORIZATION, InvalidHeaderValue};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use pingora::http::RequestHeader;
use pingora::protocols::l4::socket::SocketAddr as PeerAddress;
use pingora::upstreams::peer::{HttpPeer, PeerOptions};
use pingora::utils::tls::CertKey;
use pingora::{Error, ErrorType};

use super::exchange::Exchange;
use crate::config::Limits;
use crate::headers;
use crate::table::Entrance;

/// Receive window of one stream from a cell: what a slow client can make the router hold.
const STREAM_WINDOW: u32 = 256 * 1024;
const PING_EVERY: Duration = Duration::from_secs(20);

pub static REQUEST_ID: HeaderName = HeaderName::from_static(names::REQUEST_ID);
static CLIENT_REQUEST_ID: HeaderName = HeaderName::from_static(headers::CLIENT_REQUEST_ID);
static TRACEPARENT: HeaderName = HeaderName::from_static(names::TRACEPARENT);
static TENANT: HeaderName = HeaderName::from_static(names::TENANT);
static CELL: HeaderName = HeaderName::from_static(names::CELL);
static GENERATION: HeaderName = HeaderName::from_static(names::GENERATION);
static LIMITS: HeaderName = HeaderName::from_static(names::LIMITS);
static KEY_CARD: HeaderName = HeaderName::from_static(names::KEY_CARD);

/// Makes the peers of all cells.
pub struct Peers {
    /// Everything that all peers have in common.
    pattern: HttpPeer,
    pub global: Entrance,
}

impl Peers {
    pub fn new(key: Arc<CertKey>, limits: &Limits, global: SocketAddr) -> Self {
        let global = Entrance::new(global, crate::feed::GLOBAL_NAME);
        let mut pattern = HttpPeer::new(global.address, true, String::new());
        pattern.client_cert_key = Some(key);
        pattern.options = options(limits);
        Self { pattern, global }
    }

    /// The peer at an entrance. Pools are kept apart by the peer's name, which holds the cell's.
    pub fn peer(&self, entrance: &Entrance) -> HttpPeer {
        let mut peer = self.pattern.clone();
        peer._address = PeerAddress::Inet(entrance.address);
        peer.sni = entrance.name.to_string();
        peer.group_key = entrance.key;
        peer
    }

    /// The same for a WebSocket: a connection of its own, which ends with it.
    pub fn tunnel(&self, entrance: &Entrance) -> HttpPeer {
        let mut peer = self.peer(entrance);
        peer.options.set_http_version(1, 1);
        peer
    }
}

fn options(limits: &Limits) -> PeerOptions {
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
    options
}

/// Makes the client's header the router's: strips what the client may not say, adds what it knows.
pub fn cross(
    request: &mut RequestHeader,
    exchange: &Exchange,
    client: Option<SocketAddr>,
    tls: bool,
) -> pingora::Result<()> {
    // Taken apart, because pingora's own methods keep the spelling of each name, for which HTTP/2 has no use. A target
    // that is more than a path is kept beside the parts.
    let target = (!request.raw_path().starts_with(b"/")).then(|| request.raw_path().to_vec());
    let blank = RequestHeader::build_no_case(Method::GET, b"/", Some(0))?;
    let mut parts = Parts::from(std::mem::replace(request, blank));
    rewrite(&mut parts.headers, exchange, client.map(|client| client.ip()), tls)
        .map_err(|error| Error::because(ErrorType::InvalidHTTPHeader, "a header for the cell", error))?;
    *request = RequestHeader::from(parts);
    match target {
        Some(target) => request.set_raw_path(&target),
        None => Ok(()),
    }
}

fn rewrite(
    all: &mut HeaderMap,
    exchange: &Exchange,
    client: Option<IpAddr>,
    tls: bool,
) -> Result<(), InvalidHeaderValue> {
    let client_id = all.get(&REQUEST_ID).filter(|id| headers::is_request_id(id.as_bytes())).cloned();
    let stripped: Vec<HeaderName> = all.keys().filter(|name| headers::is_stripped(name.as_str())).cloned().collect();
    for name in &stripped {
        all.remove(name);
    }
    if !exchange.continued {
        all.remove(headers::TRACESTATE);
    }
    // A token is to be in no table of a connection (RFC 7541, 7.1.3).
    if let Some(token) = all.get_mut(AUTHORIZATION) {
        token.set_sensitive(true);
    }
    all.insert(&REQUEST_ID, once(&exchange.request_id)?);
    if let Some(id) = client_id {
        all.insert(&CLIENT_REQUEST_ID, id);
    }
    all.insert(&TRACEPARENT, once(&exchange.place.to_string())?);
    // Nothing behind the router reads the older `x-forwarded-*`, and each header is coded anew for every request.
    all.insert(headers::FORWARDED, HeaderValue::try_from(headers::forwarded(client, &exchange.host, tls))?);
    if let Some(placement) = exchange.placement() {
        all.insert(&TENANT, HeaderValue::from_str(placement.tenant.as_str())?);
        all.insert(&CELL, HeaderValue::from_str(placement.cell.as_str())?);
        all.insert(&GENERATION, HeaderValue::from(placement.generation.0));
        if let Some(limits) = &placement.limits {
            all.insert(&LIMITS, HeaderValue::from_str(limits)?);
        }
        if let Some(card) = &placement.card {
            all.insert(&KEY_CARD, once(card)?);
        }
    }
    Ok(())
}

/// A value that no other request has: kept out of the connection's table, where it would drive out those that come
/// again.
fn once(text: &str) -> Result<HeaderValue, InvalidHeaderValue> {
    let mut value = HeaderValue::from_str(text)?;
    value.set_sensitive(true);
    Ok(value)
}

/// Takes the platform's own headers out of what a client is shown.
pub fn conceal(shown: &http::HeaderMap) -> Vec<HeaderName> {
    shown.keys().filter(|name| headers::is_reserved(name.as_str())).cloned().collect()
}
