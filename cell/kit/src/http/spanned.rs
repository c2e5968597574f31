//! A request's span: from its header to the last byte of its answer.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::extract::{MatchedPath, Request};
use axum::response::Response;
use contracts::{TraceParent, headers};
use http::{HeaderMap, HeaderValue, header};
use http_body::{Frame, SizeHint};
use trace::{Span, SpanKind, Tracer};

use crate::fault::ProblemCode;

/// Begins the span below the caller's, and puts its place where [`crate::Scope`] reads it.
pub(super) fn begin(tracer: &Tracer, request: &mut Request) -> Span {
    let parent = text(request.headers(), headers::TRACEPARENT).and_then(|value| value.parse::<TraceParent>().ok());
    // Health checks and feeds of nobody's trace would be noise.
    let Some(parent) = parent else { return Tracer::off().begin(SpanKind::Server, "", None) };
    let mut span = tracer.begin(SpanKind::Server, name(request), Some(parent));
    if !span.is_recorded() {
        return span;
    }
    span.set("http.request.method", request.method().as_str().to_owned());
    span.set("url.path", request.uri().path().to_owned());
    for (name, attribute) in [(headers::TENANT, "cyto.tenant"), (headers::REQUEST_ID, "cyto.request_id")] {
        if let Some(value) = text(request.headers(), name).map(str::to_owned) {
            span.set(attribute, value);
        }
    }
    if let Some(place) = span.traceparent().and_then(|place| HeaderValue::try_from(place).ok()) {
        request.headers_mut().insert(headers::TRACEPARENT, place);
    }
    span
}

fn text<'a>(map: &'a HeaderMap, name: &str) -> Option<&'a str> {
    map.get(name)?.to_str().ok()
}

/// `GET /api/v1/streams/{stream}`, or a gRPC method's full name.
fn name(request: &Request) -> String {
    let path = request.uri().path();
    if text(request.headers(), header::CONTENT_TYPE.as_str()).is_some_and(|kind| kind.starts_with("application/grpc")) {
        return path.trim_start_matches('/').to_owned();
    }
    match request.extensions().get::<MatchedPath>() {
        Some(route) => format!("{} {}", request.method(), route.as_str()),
        None => request.method().to_string(),
    }
}

/// Lets the span go with the answer's body.
pub(super) fn end_with(mut span: Span, response: Response) -> Response {
    if !span.is_recorded() {
        return response;
    }
    let status = response.status();
    span.set("http.response.status_code", i64::from(status.as_u16()));
    if status.is_server_error() {
        span.fail(response.extensions().get::<ProblemCode>().map_or("http/unknown", |code| code.0));
    }
    fail_by_grpc(&mut span, response.headers());
    response.map(|body| Body::new(Spanned { body, span }))
}

fn fail_by_grpc(span: &mut Span, trailers: &HeaderMap) {
    match text(trailers, "grpc-status") {
        None | Some("0") => {}
        Some(status) => {
            let code = text(trailers, headers::ERROR_CODE).map_or_else(|| format!("grpc/{status}"), str::to_owned);
            span.fail(code);
        }
    }
}

struct Spanned {
    body: Body,
    span: Span,
}

impl http_body::Body for Spanned {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let next = Pin::new(&mut self.body).poll_frame(context);
        match &next {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(trailers) = frame.trailers_ref() {
                    fail_by_grpc(&mut self.span, trailers);
                }
            }
            Poll::Ready(Some(Err(_))) => self.span.fail("http/body-broken-off"),
            Poll::Ready(None) | Poll::Pending => {}
        }
        next
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
