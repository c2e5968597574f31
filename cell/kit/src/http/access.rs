//! One log line, one measurement and one span per request.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use contracts::{TraceParent, headers};
use http::{HeaderMap, HeaderValue, Method};
use trace::Tracer;
use uuid::Uuid;

use super::spanned::{begin, end_with};
use crate::fault::ProblemCode;
use crate::metrics::{Metrics, RequestLabels};

#[derive(Debug, Clone)]
pub(super) struct Access {
    pub service: &'static str,
    pub metrics: Metrics,
    pub tracer: Tracer,
}

fn method_label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "OTHER",
    }
}

fn header<'a>(map: &'a HeaderMap, name: &str) -> &'a str {
    map.get(name).and_then(|v| v.to_str().ok()).unwrap_or("-")
}

/// Makes sure that a request id exists and that the handler sees this request's own span, then logs
/// the outcome. Never logs a query string or a header that could hold a credential.
pub(super) async fn record(State(access): State<Access>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    if !request.headers().contains_key(headers::REQUEST_ID)
        && let Ok(id) = HeaderValue::from_str(&Uuid::now_v7().to_string())
    {
        request.headers_mut().insert(headers::REQUEST_ID, id);
    }
    let span = begin(&access.tracer, &mut request);
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let route = request.extensions().get::<MatchedPath>().map_or_else(String::new, |route| route.as_str().to_owned());
    let incoming = request.headers().clone();
    let mut response = next.run(request).await;
    let elapsed = started.elapsed();
    if let Some(id) = incoming.get(headers::REQUEST_ID) {
        response.headers_mut().entry(headers::REQUEST_ID).or_insert_with(|| id.clone());
    }
    let status = response.status().as_u16();
    let labels = RequestLabels {
        service: access.service,
        http_request_method: method_label(&method),
        http_route: route,
        http_response_status_code: status,
    };
    access.metrics.requests.get_or_create(&labels).observe(elapsed.as_secs_f64());
    let code = response.extensions().get::<ProblemCode>().map_or("-", |c| c.0);
    tracing::info!(
        target: "access",
        service = access.service,
        method = method.as_str(),
        path,
        status,
        code,
        ms = elapsed.as_secs_f64() * 1000.0,
        tenant = header(&incoming, headers::TENANT),
        cell = header(&incoming, headers::CELL),
        generation = header(&incoming, headers::GENERATION),
        request_id = header(&incoming, headers::REQUEST_ID),
        trace_id = span.place().as_ref().map(TraceParent::trace_id).as_deref().unwrap_or("-"),
        "request"
    );
    end_with(span, response)
}
