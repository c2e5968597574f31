//! The record of a request: metrics and one access log line.

use std::time::Duration;

use pingora::Error;
use pingora::http::RequestHeader;
use pingora::proxy::Session;
use time::OffsetDateTime;

use super::Shared;
use super::exchange::Exchange;
use crate::access_log::Line;
use crate::decision::{Destination, Door, Placement};
use crate::metrics::CodeLabel;

/// Status of a request whose client left before an answer, after nginx.
const CLIENT_GONE: u16 = 499;

/// The last use of an exchange: what the line holds is taken out of it.
pub fn record(shared: &Shared, door: Door, session: &mut Session, error: Option<&Error>, exchange: &mut Exchange) {
    let whole = exchange.begun.elapsed();
    let status = session.response_written().map_or(CLIENT_GONE, |header| header.status.as_u16());
    let refused = exchange.refusal.map(|refusal| crate::problem::row_of(refusal).code);
    let metrics = &shared.knowledge.metrics;
    metrics.request(door.name(), status, whole, exchange.added());
    if let Some(code) = refused {
        metrics.refusals.get_or_create(&CodeLabel { code }).inc();
    }
    let header = session.req_header();
    describe_span(exchange, header, status, refused);
    let (tenant, cell, generation) = match exchange.destination.take() {
        Some(Destination::Cell(Placement { tenant, cell, generation, .. })) => {
            (Some(tenant), Some(cell), Some(generation.0))
        }
        _ => (None, None, None),
    };
    shared.access_log.put(Line {
        time: OffsetDateTime::now_utc(),
        listener: door.name(),
        request_id: std::mem::take(&mut exchange.request_id),
        trace_id: exchange.place,
        method: header.method.clone(),
        host: std::mem::take(&mut exchange.host),
        path: header.uri.path().to_owned(),
        version: if header.version == http::Version::HTTP_2 { "2" } else { "1.1" },
        status,
        refused,
        error: error.map(describe),
        tenant,
        cell,
        generation,
        attempts: exchange.attempts,
        bytes_in: session.body_bytes_read() as u64,
        bytes_out: session.body_bytes_sent() as u64,
        ms: millis(whole),
        upstream_ms: exchange.upstream.map(millis),
        added_ms: exchange.added().map(millis),
        client: session.client_addr().and_then(|address| address.as_inet()).copied(),
    });
}

/// The span ends with the exchange.
fn describe_span(exchange: &mut Exchange, header: &RequestHeader, status: u16, refused: Option<&'static str>) {
    if !exchange.span.is_recorded() {
        return;
    }
    let placed = exchange.placement().map(|placement| (placement.tenant.to_string(), placement.cell.to_string()));
    let (id, host, attempts) = (exchange.request_id.clone(), exchange.host.clone(), exchange.attempts);
    let span = &mut exchange.span;
    span.set("http.request.method", header.method.as_str().to_owned());
    span.set("url.path", header.uri.path().to_owned());
    span.set("server.address", host);
    span.set("http.response.status_code", i64::from(status));
    span.set("cyto.request_id", id);
    span.set("cyto.attempts", i64::from(attempts));
    if let Some((tenant, cell)) = placed {
        span.set("cyto.tenant", tenant);
        span.set("cyto.cell", cell);
    }
    if status >= 500 || (refused.is_some() && exchange.grpc) {
        span.fail(refused.unwrap_or("http/unknown"));
    }
}

/// Kind and side of a failure. Its context may hold bytes of the request and stays out.
fn describe(error: &Error) -> String {
    format!("{} {}", error.esource().as_str(), error.etype().as_str())
}

/// Milliseconds, to the microsecond.
fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}
