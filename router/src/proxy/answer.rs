//! Writes the router's own answers.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use pingora::ErrorSource::{Downstream, Upstream};
use pingora::ErrorType as E;
use pingora::http::ResponseHeader;
use pingora::proxy::Session;
use pingora::{Error, Result};

use super::exchange::Exchange;
use crate::connection::Breach;
use crate::decision::Refusal;
use crate::fairness::Leave;
use crate::problem::{Answer, Caller, answer};

/// A client that is still sending gets this long, and this many bytes, to notice the answer:
/// closing on unread bytes would take the answer away from it.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 1024 * 1024;

/// draft-ietf-httpapi-ratelimit-headers.
pub const RATE_LIMIT: &str = "ratelimit";
pub const RATE_LIMIT_POLICY: &str = "ratelimit-policy";

/// The tenant's allowance and what is left of it, as headers say it; `None` where there is no limit.
pub fn allowance(leave: &Leave) -> Option<(String, String)> {
    let (rate, left) = leave.requests?;
    let policy = format!("\"tenant\";q={};w=1;burst={}", rate.per_second, rate.burst);
    Some((policy, format!("\"tenant\";r={left};t=1")))
}

/// Answers a request that goes nowhere.
pub async fn refuse(session: &mut Session, exchange: &mut Exchange, refusal: Refusal) -> Result<()> {
    exchange.refusal = Some(refusal);
    exchange.header_after.get_or_insert_with(|| exchange.begun.elapsed());
    let trace_id = exchange.place.trace_id();
    let caller = Caller { grpc: exchange.grpc, request_id: &exchange.request_id, trace_id: &trace_id };
    write(session, answer(refusal, caller)).await
}

async fn write(session: &mut Session, answer: Answer) -> Result<()> {
    let unread = !session.as_mut().is_body_done();
    if unread || answer.status == 431 {
        session.set_keepalive(None);
    }
    let mut header = ResponseHeader::build(answer.status, Some(answer.headers.len()))?;
    for (name, value) in answer.headers {
        header.insert_header(name, value)?;
    }
    let trailers = !answer.trailers.is_empty();
    let head = session.req_header().method == http::Method::HEAD;
    let empty = head || (answer.body.is_empty() && !trailers);
    session.write_response_header(Box::new(header), empty).await?;
    if trailers {
        session.as_mut().write_response_trailers(map(answer.trailers)).await?;
    } else if !empty {
        session.write_response_body(Some(Bytes::from(answer.body)), true).await?;
    }
    session.as_mut().finish_body().await?;
    Ok(())
}

fn map(trailers: Vec<(&'static str, String)>) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(trailers.len());
    for (name, value) in trailers {
        if let Ok(value) = HeaderValue::try_from(value) {
            map.insert(HeaderName::from_static(name), value);
        }
    }
    map
}

/// Takes what the client still sends after its answer; for HTTP/1, where a connection is one request's.
pub async fn linger(session: &mut Session) {
    if session.as_http1().is_none() {
        return;
    }
    let read = async {
        let mut bytes = 0;
        while bytes < LINGER_BYTES {
            match session.as_mut().read_request_body().await {
                Ok(Some(chunk)) => bytes += chunk.len(),
                _ => break,
            }
        }
    };
    // Either way the connection is closed next.
    let _ = tokio::time::timeout(LINGER, read).await;
}

/// The client is still there: what it sent is no body.
fn is_misframed(error: &Error) -> bool {
    let cause = error.root_cause().downcast_ref::<std::io::Error>();
    let breach = cause.and_then(|error| error.get_ref()?.downcast_ref::<Breach>());
    breach.is_some_and(|breach| *breach == Breach::Framing)
}

/// What to tell the caller about a failure on the way; `None` when there is nobody left to tell.
pub fn refusal_of(error: &Error) -> Option<Refusal> {
    match (error.esource(), error.etype()) {
        (_, E::HTTPStatus(413)) => Some(Refusal::BodyTooLarge),
        (Downstream, E::InvalidHTTPHeader) => Some(Refusal::BadTarget),
        (Downstream, _) if is_misframed(error) => Some(Refusal::BadFraming),
        (Downstream, _) => None,
        (Upstream, E::ReadTimedout | E::WriteTimedout) => Some(Refusal::CellTimeout),
        (
            Upstream,
            E::ConnectTimedout
            | E::ConnectRefused
            | E::ConnectNoRoute
            | E::ConnectError
            | E::SocketError
            | E::TLSHandshakeFailure
            | E::TLSHandshakeTimedout
            | E::HandshakeError
            | E::InvalidCert,
        ) => Some(Refusal::CellUnavailable),
        (Upstream, _) => Some(Refusal::CellBroken),
        _ => Some(Refusal::Internal),
    }
}
