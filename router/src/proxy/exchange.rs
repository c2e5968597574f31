//! One request on its way through the door.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ::trace::{Span, SpanKind, Tracer};
use contracts::TraceParent;
use http::HeaderValue;
use http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use pingora::http::RequestHeader;
use pingora::proxy::Session;

use super::Misdirected;
use crate::decision::{Destination, Door, Placement, Refusal};
use crate::fairness::Leave;
use crate::shutdown::{Busy, InFlight};
use crate::table::Entrance;
use crate::websocket::Offered;

/// What is remembered of a request from hook to hook.
pub struct Exchange {
    pub begun: Instant,
    pub request_id: String,
    pub span: Span,
    /// Parent of the next hop's span; begun here if the client began none.
    pub place: TraceParent,
    /// The client had begun the trace; its `tracestate` goes on.
    pub continued: bool,
    pub host: String,
    /// The caller reads gRPC statuses.
    pub grpc: bool,
    /// The caller asks for a WebSocket.
    pub websocket: bool,
    pub destination: Option<Destination>,
    /// Which of its cell's addresses is its own, where there are several.
    pub turn: usize,
    /// Where the present try enters it.
    pub entrance: Option<Entrance>,
    pub refusal: Option<Refusal>,
    /// Tries to reach the cell, the present one included.
    pub attempts: u8,
    /// The cell refused with 421.
    pub misdirected: Option<Misdirected>,
    pub moved_retry_used: bool,
    pub connect_retry_used: bool,
    /// Its cell refused the connection, so it has its turn in the waiting room.
    pub waits: Option<Turn>,
    pub body_bytes: u64,
    pub sent: Option<Instant>,
    pub upstream: Option<Duration>,
    /// From the beginning to the response header.
    pub header_after: Option<Duration>,
    /// Its place among its tenant's requests.
    pub leave: Option<Leave>,
    _busy: Busy,
}

/// A request's one turn in the waiting room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    Due,
    Had,
}

impl Exchange {
    pub fn new(in_flight: &Arc<InFlight>) -> Self {
        Self {
            begun: Instant::now(),
            request_id: String::new(),
            span: Tracer::off().begin(SpanKind::Server, "", None),
            place: TraceParent::begin((0, 0), false),
            continued: false,
            host: String::new(),
            grpc: false,
            websocket: false,
            destination: None,
            turn: rand::random_range(0..usize::MAX),
            entrance: None,
            refusal: None,
            attempts: 0,
            misdirected: None,
            moved_retry_used: false,
            connect_retry_used: false,
            waits: None,
            body_bytes: 0,
            sent: None,
            upstream: None,
            header_after: None,
            leave: None,
            _busy: Busy::new(in_flight),
        }
    }

    /// Takes what later hooks need from the header. Minted here: request id and trace.
    pub fn open(&mut self, header: &RequestHeader, tracer: &Tracer) {
        self.request_id = fresh_id();
        let content_type = header.headers.get(http::header::CONTENT_TYPE).map(HeaderValue::as_bytes);
        self.grpc = header.version == http::Version::HTTP_2 && content_type.is_some_and(is_grpc);
        self.websocket = crate::websocket::is_asked_for(&header.method, header.version, &header.headers);
        self.host = authority(header).and_then(crate::target::host_of).unwrap_or_default();
        let traceparent = header.headers.get(contracts::headers::TRACEPARENT);
        let client: Option<TraceParent> = traceparent.and_then(|v| v.to_str().ok()).and_then(|text| text.parse().ok());
        self.continued = client.is_some();
        let name =
            if self.grpc { header.uri.path().trim_start_matches('/').to_owned() } else { header.method.to_string() };
        self.span = tracer.begin(SpanKind::Server, name, client);
        let fresh = || TraceParent::begin((rand::random(), rand::random()), false);
        self.place = self.span.place().unwrap_or_else(fresh);
    }

    pub fn placement(&self) -> Option<&Placement> {
        match &self.destination {
            Some(Destination::Cell(placement)) => Some(placement),
            _ => None,
        }
    }

    /// The response header has come.
    pub fn answered(&mut self) {
        self.upstream = self.sent.map(|sent| sent.elapsed());
        self.header_after = Some(self.begun.elapsed());
    }

    /// Time to the response header that was not spent in the cell.
    pub fn added(&self) -> Option<Duration> {
        self.header_after.map(|whole| whole.saturating_sub(self.upstream.unwrap_or_default()))
    }
}

/// Puts a WebSocket's token, which a browser has to give as a protocol, where tokens are.
pub fn unwrap_token(header: &mut RequestHeader) -> pingora::Result<()> {
    let Offered { tokens, protocols } = crate::websocket::offered(&header.headers);
    header.remove_header(&SEC_WEBSOCKET_PROTOCOL);
    if !protocols.is_empty() {
        header.insert_header(SEC_WEBSOCKET_PROTOCOL, protocols.join(", "))?;
    }
    tokens.into_iter().try_for_each(|token| header.append_header(AUTHORIZATION, token).map(drop))
}

/// A UUID of version 7. Its chance comes from the thread's own generator: the system's would cost two calls.
fn fresh_id() -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let millis = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    uuid::Builder::from_unix_timestamp_millis(millis, &rand::random()).into_uuid().to_string()
}

/// Content types of gRPC itself; gRPC-Web callers read HTTP statuses.
fn is_grpc(content_type: &[u8]) -> bool {
    content_type == b"application/grpc"
        || content_type.starts_with(b"application/grpc+")
        || content_type.starts_with(b"application/grpc;")
}

/// `:authority`, `Host`, or the authority of an absolute target: pingora has refused requests in
/// which they differ.
pub fn authority(header: &RequestHeader) -> Option<&[u8]> {
    header
        .headers
        .get(http::header::HOST)
        .map(HeaderValue::as_bytes)
        .or_else(|| header.uri.authority().map(|authority| authority.as_str().as_bytes()))
}

/// The facts of a request, for the decision.
pub fn facts<'a>(session: &'a Session, door: Door, repaired: bool) -> crate::decision::Facts<'a> {
    let header = session.req_header();
    let tls = session.digest().and_then(|digest| digest.ssl_digest.as_ref());
    let name = tls.and_then(|tls| tls.extension.get::<crate::tls::ServerName>());
    let mut authorization = header.headers.get_all(http::header::AUTHORIZATION).iter();
    let first = authorization.next().map(HeaderValue::as_bytes);
    crate::decision::Facts {
        door,
        tls_name: name.map(|name| name.0.as_str()),
        authority: authority(header),
        options: header.method == http::Method::OPTIONS,
        path: header.uri.path(),
        repaired,
        authorization: first,
        ambiguous_authorization: authorization.next().is_some(),
        now: crate::knowledge::now(),
    }
}
