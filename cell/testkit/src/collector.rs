//! A collector of spans: takes OTLP over HTTP, and keeps what it was sent.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// One span as it was received.
#[derive(Debug, Clone)]
pub struct Seen {
    pub service: String,
    pub name: String,
    /// OTLP's number: 1 internal, 2 server, 3 client, 4 producer, 5 consumer.
    pub kind: i32,
    /// Hex digits, as in a `traceparent`.
    pub trace: String,
    pub span: String,
    /// Empty for a root.
    pub parent: String,
    /// Traces it is linked to.
    pub links: Vec<String>,
    pub attributes: BTreeMap<String, String>,
    pub ended_after_ms: f64,
}

#[derive(Default)]
struct Kept {
    spans: Vec<Seen>,
    /// Everything as it came.
    bytes: Vec<u8>,
}

pub struct Collector {
    address: SocketAddr,
    kept: Arc<Mutex<Kept>>,
    task: JoinHandle<()>,
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Collector {
    /// Listens on a port of `ip` that nobody has.
    pub async fn start(ip: IpAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(SocketAddr::new(ip, 0)).await.context("no collector")?;
        let (address, kept) = (listener.local_addr()?, Arc::<Mutex<Kept>>::default());
        let routes = Router::new().route("/v1/traces", post(take)).with_state(Arc::clone(&kept));
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, routes).await {
                eprintln!("the collector ended: {error}");
            }
        });
        Ok(Self { address, kept, task })
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Spans of one trace, in the order they came.
    pub fn trace(&self, id: &str) -> Vec<Seen> {
        self.kept().spans.iter().filter(|span| span.trace == id).cloned().collect()
    }

    /// Looks at everything that came, byte by byte.
    pub fn bytes<T>(&self, look: impl FnOnce(&[u8]) -> T) -> T {
        look(&self.kept().bytes)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn take(State(kept): State<Arc<Mutex<Kept>>>, body: Bytes) -> StatusCode {
    let Ok(request) = ExportTraceServiceRequest::decode(body.clone()) else { return StatusCode::BAD_REQUEST };
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    kept.bytes.extend_from_slice(&body);
    for group in request.resource_spans {
        let resource = words(&group.resource.map(|resource| resource.attributes).unwrap_or_default());
        let service = resource.get("service.name").cloned().unwrap_or_default();
        let spans = group.scope_spans.into_iter().flat_map(|scope| scope.spans);
        kept.spans.extend(spans.map(|span| seen(&service, span)));
    }
    StatusCode::OK
}

fn seen(service: &str, span: Span) -> Seen {
    Seen {
        service: service.to_owned(),
        name: span.name,
        kind: span.kind,
        trace: hex(&span.trace_id),
        span: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        links: span.links.iter().map(|link| hex(&link.trace_id)).collect(),
        attributes: words(&span.attributes),
        ended_after_ms: span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano) as f64 / 1e6,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn words(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let word = |pair: &KeyValue| match pair.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    attributes.iter().map(|pair| (pair.key.clone(), word(pair))).collect()
}
