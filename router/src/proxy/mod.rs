//! The rim: pingora's hooks, each as thin as it can be. What they decide is decided in the core.

mod answer;
mod entering;
mod exchange;
mod judging;
mod moving;
mod probe;
mod record;
mod repeating;
mod upstream;
mod waiting;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use contracts::Generation;
use contracts::headers::{GENERATION_REQUIRED, LEAVING};
use http::{HeaderMap, StatusCode};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};
use trace::Tracer;

use crate::access_log::AccessLog;
use crate::config::Limits;
use crate::connection::HeaderRead;
use crate::decision::{Destination, Door, Refusal, Rules};
use crate::fairness::{Allowance, Ledger};
use crate::knowledge::Knowledge;
use crate::retries::Retries;
use crate::shutdown::InFlight;

pub use exchange::Exchange;
use exchange::Turn;
pub use moving::Arrivals;
pub use probe::handshake;
pub use upstream::Peers;
pub use waiting::WaitingRoom;

/// Tries of one request altogether: the first, one after a 421, one after a lost connection, one after a wait.
pub const TRIES: usize = 4;
/// Bytes of a body after which its refusal may have reset its stream: services read shorter ones to their end.
const RESET_AFTER: u64 = 64 * 1024;
const CONNECT_PAUSE: Duration = Duration::from_millis(50);
const MISDIRECTED: ErrorType = ErrorType::new("misdirected");
const REFUSED: ErrorType = ErrorType::new("refused");

/// What every listener shares.
pub struct Shared {
    pub knowledge: Arc<Knowledge>,
    pub rules: Rules,
    pub limits: Limits,
    pub ledger: Arc<Ledger>,
    /// Of a tenant whose tier the table does not know.
    pub allowance: Allowance,
    pub peers: Peers,
    pub waiting: Arc<WaitingRoom>,
    pub retries: Retries,
    pub arrivals: Arrivals,
    pub in_flight: Arc<InFlight>,
    pub access_log: AccessLog,
    pub tracer: Tracer,
    /// Where the clock of the ledger begins.
    pub begun: Instant,
}

impl Shared {
    fn now(&self) -> Duration {
        self.begun.elapsed()
    }
}

/// The proxy behind one listener.
pub struct Proxy {
    pub shared: Arc<Shared>,
    pub door: Door,
}

/// What a cell says with a 421.
#[derive(Debug, Clone, Copy)]
pub struct Misdirected {
    /// The generation to be reached, if it names one.
    required: Option<Generation>,
    /// It is reached when the tenant has arrived in another cell.
    is_leaving: bool,
}

impl Misdirected {
    fn of(header: &ResponseHeader) -> Self {
        let required = header.headers.get(GENERATION_REQUIRED).and_then(|value| value.to_str().ok()?.parse().ok());
        Self { required, is_leaving: header.headers.contains_key(LEAVING) }
    }
}

/// Whether no other header follows: of the informational ones, after that of a WebSocket none does.
fn is_last(status: StatusCode) -> bool {
    !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS
}

#[async_trait]
impl ProxyHttp for Proxy {
    type CTX = Exchange;

    fn new_ctx(&self) -> Exchange {
        Exchange::new(&self.shared.in_flight)
    }

    /// No modules: nothing is compressed or rewritten on the way.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn request_filter(&self, session: &mut Session, exchange: &mut Exchange) -> Result<bool> {
        let is_chunked = session.req_header().headers.contains_key(http::header::TRANSFER_ENCODING);
        let HeaderRead { repaired, misframed } = crate::connection::header_read(is_chunked);
        exchange.open(session.req_header(), &self.shared.tracer);
        if exchange.websocket {
            exchange::unwrap_token(session.req_header_mut())?;
        }
        let limits = &self.shared.limits;
        session.set_read_timeout(Some(limits.stream_idle()));
        session.set_write_timeout(Some(limits.stream_idle()));
        session.set_total_drain_timeout(Some(Duration::from_secs(1)));
        if session.get_keepalive().is_some() {
            session.set_keepalive(Some(limits.keepalive_seconds));
        }
        let decided = match self.refusal_by_form(session, misframed).or_else(|| self.refusal_by_size(session)) {
            Some(refusal) => Err(refusal),
            None => match self.judge(session, repaired).await {
                Ok(Destination::Cell(placement)) => self.arrived(session, repaired, placement).await,
                decided => decided,
            },
        };
        match decided.and_then(|destination| self.enter(session, destination, exchange)) {
            Ok(()) => {}
            Err(refusal) => {
                if refusal == Refusal::BadFraming {
                    // Nobody knows where the next request would begin.
                    session.set_keepalive(None);
                }
                answer::refuse(session, exchange, refusal).await?;
                return Ok(true);
            }
        }
        // Answered here, so that `expect` needs not cross and no two readers can disagree on it.
        if session.req_header().headers.contains_key(http::header::EXPECT) && session.as_http1().is_some() {
            let keepalive = session.get_keepalive();
            session.as_mut().write_continue_response().await?;
            // pingora takes any answer before the end of the body for the last one.
            session.set_keepalive(keepalive);
        }
        // What comes after a WebSocket's request is its own.
        if session.as_mut().is_body_done() && !exchange.websocket {
            crate::connection::request_read();
        }
        Ok(false)
    }

    async fn upstream_peer(&self, _session: &mut Session, exchange: &mut Exchange) -> Result<Box<HttpPeer>> {
        exchange.attempts = exchange.attempts.saturating_add(1);
        if let Some(misdirected) = exchange.misdirected.take() {
            match self.after_421(exchange, misdirected).await {
                Ok(destination) => exchange.destination = Some(destination),
                Err(refusal) => {
                    exchange.refusal = Some(refusal);
                    return Err(Error::new(REFUSED));
                }
            }
        } else if exchange.connect_retry_used && exchange.waits.is_none() {
            tokio::time::sleep(CONNECT_PAUSE).await;
        }
        let Some(entrance) = self.entrance(exchange) else {
            exchange.refusal = Some(Refusal::CellUnavailable);
            return Err(Error::new(REFUSED));
        };
        let Shared { peers, waiting, retries, .. } = &*self.shared;
        let entrance = exchange.entrance.insert(entrance);
        if exchange.attempts == 1 {
            retries.earn(entrance.key);
        }
        let turn = match exchange.waits {
            Some(Turn::Due) => true,
            Some(Turn::Had) => false,
            None => waiting.is_away(entrance.address),
        };
        if turn {
            exchange.waits = Some(Turn::Had);
            if !waiting.wait(entrance).await {
                return Err(Error::explain(ErrorType::ConnectRefused, "the cell is away").into_up());
            }
        }
        Ok(Box::new(if exchange.websocket { peers.tunnel(entrance) } else { peers.peer(entrance) }))
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        exchange: &mut Exchange,
    ) -> Result<()> {
        // The next hop speaks HTTP/2 or nothing: no request is ever written in HTTP/1 framing, but one that has no body
        // and ends its connection.
        if request.version != http::Version::HTTP_2 && !exchange.websocket {
            return Err(Error::explain(ErrorType::HandshakeError, "the peer does not speak HTTP/2").into_up());
        }
        let client = session.client_addr().and_then(|address| address.as_inet()).copied();
        upstream::cross(request, exchange, client, self.door.is_tls())?;
        exchange.body_bytes = 0;
        exchange.sent = Some(Instant::now());
        Ok(())
    }

    async fn request_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        exchange: &mut Exchange,
    ) -> Result<()> {
        if end && !exchange.websocket {
            crate::connection::request_read();
        }
        exchange.body_bytes += self.passed(body, exchange);
        if exchange.body_bytes > self.body_limit_of(exchange) {
            exchange.refusal = Some(Refusal::BodyTooLarge);
            // Laid at the client's door: pingora would only stop reading for any other fault.
            return Err(Error::new(ErrorType::HTTPStatus(413)).into_down());
        }
        Ok(())
    }

    async fn upstream_response_filter(
        &self,
        _session: &mut Session,
        response: &mut ResponseHeader,
        exchange: &mut Exchange,
    ) -> Result<()> {
        if !is_last(response.status) {
            return Ok(());
        }
        let misdirected = Misdirected::of(response);
        if exchange.placement().is_some() && (response.status.as_u16() == 421 || misdirected.required.is_some()) {
            self.shared.knowledge.metrics.misdirected.inc();
            exchange.misdirected = Some(misdirected);
            return Err(Error::new(MISDIRECTED).into_up());
        }
        exchange.answered();
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        exchange: &mut Exchange,
    ) -> Result<()> {
        // A cell that refuses a long body resets its stream, and then pingora closes the client's connection
        // whatever the answer's header says: so it says it.
        if response.status.as_u16() >= 400 && exchange.body_bytes > RESET_AFTER {
            session.set_keepalive(None);
        }
        for name in upstream::conceal(&response.headers) {
            response.remove_header(&name);
        }
        if let Some((policy, left)) = exchange.leave.as_ref().and_then(answer::allowance) {
            response.insert_header(answer::RATE_LIMIT_POLICY, policy)?;
            response.insert_header(answer::RATE_LIMIT, left)?;
        }
        response.insert_header(&upstream::REQUEST_ID, exchange.request_id.as_str())
    }

    fn response_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        _end: bool,
        exchange: &mut Exchange,
    ) -> Result<Option<Duration>> {
        self.passed(body, exchange);
        Ok(None)
    }

    async fn response_trailer_filter(
        &self,
        _session: &mut Session,
        trailers: &mut HeaderMap,
        _exchange: &mut Exchange,
    ) -> Result<Option<Bytes>> {
        for name in upstream::conceal(trailers) {
            trailers.remove(name);
        }
        Ok(None)
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        exchange: &mut Exchange,
        mut error: Box<Error>,
    ) -> Box<Error> {
        error.set_retry(self.connects_again(exchange, &error));
        error
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        exchange: &mut Exchange,
        reused: bool,
    ) -> Box<Error> {
        let again = self.sends_again(session, exchange, &mut error, reused);
        error.set_retry(again);
        error
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, exchange: &mut Exchange) -> FailToProxy {
        let written = session.response_written().is_some_and(|header| is_last(header.status));
        let refusal = exchange.refusal.or_else(|| answer::refusal_of(error));
        let Some(refusal) = refusal.filter(|_| !written) else {
            return FailToProxy { error_code: 0, can_reuse_downstream: false };
        };
        session.set_keepalive(None);
        if let Err(error) = answer::refuse(session, exchange, refusal).await {
            tracing::debug!(error = error.etype().as_str(), "the caller left before its answer");
        }
        FailToProxy { error_code: crate::problem::row_of(refusal).status, can_reuse_downstream: false }
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, exchange: &mut Exchange) {
        record::record(&self.shared, self.door, session, error, exchange);
        if session.as_mut().is_body_done() {
            crate::connection::request_over();
        } else {
            // What is left of the body must not be taken for the next header.
            session.set_keepalive(None);
            if session.response_written().is_some() {
                answer::linger(session).await;
            }
        }
    }

    /// The access log says it, without headers and queries.
    fn suppress_error_log(&self, _session: &Session, _exchange: &Exchange, _error: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _session: &Session,
        _exchange: &Exchange,
        _error: &Error,
        _context: ProxyWarnLogContext,
    ) -> bool {
        true
    }

    fn request_summary(&self, session: &Session, exchange: &Exchange) -> String {
        let header = session.req_header();
        format!("{} {} {}", exchange.request_id, header.method, header.uri.path())
    }
}
