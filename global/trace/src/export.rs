//! The way out: batches of spans to a collector.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter as Otlp, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider, SpanData, SpanExporter};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use reqwest::redirect::Policy;
use tokio::runtime::{Builder, Runtime};

use crate::{Telemetry, TelemetryError, Tracer};

/// Spans of one service that wait; more are lost.
const QUEUE: usize = 8_192;
const BATCH: usize = 512;
const EVERY: Duration = Duration::from_secs(1);
/// Longest wait for the collector.
const DEADLINE: Duration = Duration::from_secs(5);
/// A collector's answer says little.
const ANSWER_BYTES: usize = 64 * 1024;
const SPAN_ATTRIBUTES: u32 = 32;
const SPAN_LINKS: u32 = 16;

/// What became of the spans. Those recorded and not exported wait or are lost.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    pub recorded: Counter,
    pub exported: Counter,
    /// Batches that the collector did not take.
    pub failures: Counter,
}

impl Counters {
    pub fn register(&self, registry: &mut Registry) {
        let recorded = "Spans recorded; those not exported wait or are lost";
        registry.register("trace_spans_recorded", recorded, self.recorded.clone());
        registry.register("trace_spans_exported", "Spans that the collector took", self.exported.clone());
        let failures = "Batches of spans that the collector did not take";
        registry.register("trace_export_failures", failures, self.failures.clone());
    }
}

/// One process's connection to the collector; each of its services has a tracer of its own.
#[derive(Debug)]
pub struct Exporter {
    telemetry: Telemetry,
    client: Option<Client>,
    counters: Counters,
    providers: Mutex<Vec<SdkTracerProvider>>,
}

impl Exporter {
    /// Connects to nobody yet, and later only from threads of its own.
    pub fn new(telemetry: &Telemetry, counters: Counters) -> Result<Self, TelemetryError> {
        telemetry.validate()?;
        let client = telemetry.otlp.as_ref().map(|_| Client::build()).transpose()?;
        Ok(Self { telemetry: telemetry.clone(), client, counters, providers: Mutex::default() })
    }

    /// The tracer of `service`. `cell` is empty for what belongs to no cell.
    pub fn tracer(&self, service: &'static str, cell: &str) -> Result<Tracer, TelemetryError> {
        let (Some(url), Some(client)) = (&self.telemetry.otlp, &self.client) else { return Ok(Tracer::off()) };
        let otlp = Otlp::builder()
            .with_http()
            .with_http_client(client.clone())
            .with_endpoint(format!("{}/v1/traces", url.trim_end_matches('/')))
            .with_timeout(DEADLINE)
            .build()
            .map_err(|error| TelemetryError::Client(Box::new(error)))?;
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(EVERY);
        let counted = Counted { otlp, counters: self.counters.clone() };
        let processor = BatchSpanProcessor::builder(counted).with_batch_config(batches.build()).build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(processor)
            .with_max_attributes_per_span(SPAN_ATTRIBUTES)
            .with_max_links_per_span(SPAN_LINKS)
            .with_resource(resource(service, cell))
            .build();
        let tracer = provider.tracer("cytoplane");
        self.providers.lock().unwrap_or_else(PoisonError::into_inner).push(provider);
        Ok(Tracer::new(tracer, self.telemetry.sample_ratio, self.counters.recorded.clone()))
    }

    /// Sends what waits, and records nothing any more. Blocks for `deadline` at most.
    pub fn shutdown(&self, deadline: Duration) {
        let providers = std::mem::take(&mut *self.providers.lock().unwrap_or_else(PoisonError::into_inner));
        let until = std::time::Instant::now() + deadline;
        for provider in providers {
            let left = until.saturating_duration_since(std::time::Instant::now());
            // What is lost shows in the counters.
            let _lost = provider.shutdown_with_timeout(left);
        }
    }
}

fn resource(service: &'static str, cell: &str) -> Resource {
    let named = Resource::builder_empty()
        .with_service_name(service)
        .with_attribute(KeyValue::new("service.namespace", "cytoplane"))
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attribute(KeyValue::new("process.pid", i64::from(std::process::id())));
    match cell {
        "" => named.build(),
        cell => named.with_attribute(KeyValue::new("cyto.cell", cell.to_owned())).build(),
    }
}

/// Counts what the collector took.
#[derive(Debug)]
struct Counted {
    otlp: Otlp,
    counters: Counters,
}

impl SpanExporter for Counted {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len() as u64;
        let sent = self.otlp.export(batch).await;
        match &sent {
            Ok(()) => self.counters.exported.inc_by(spans),
            Err(_) => self.counters.failures.inc(),
        };
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.otlp.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.otlp.set_resource(resource);
    }
}

/// Spans leave from the processors' own threads, which have no runtime: this one serves them all.
#[derive(Debug, Clone)]
struct Client {
    http: reqwest::Client,
    runtime: Arc<Background>,
}

#[derive(Debug)]
struct Background(Option<Runtime>);

impl Drop for Background {
    fn drop(&mut self) {
        // Waiting for its threads is forbidden where the last owner may be: in another runtime.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Client {
    fn build() -> Result<Self, TelemetryError> {
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| TelemetryError::Client(error);
        let http = reqwest::Client::builder().timeout(DEADLINE).no_proxy().redirect(Policy::none());
        let http = http.build().map_err(|error| failed(Box::new(error)))?;
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("spans").enable_all().build();
        let runtime = runtime.map_err(|error| failed(Box::new(error)))?;
        Ok(Self { http, runtime: Arc::new(Background(Some(runtime))) })
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let runtime = self.runtime.0.as_ref().ok_or("the spans' runtime has ended")?;
        runtime.spawn(send(self.http.clone(), request)).await?
    }
}

async fn send(http: reqwest::Client, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let (parts, body) = request.into_parts();
    let call = http.request(parts.method, parts.uri.to_string()).headers(parts.headers).body(body);
    let mut answered = call.send().await?;
    let (mut answer, status, headers) = (Vec::new(), answered.status(), answered.headers().clone());
    while let Some(chunk) = answered.chunk().await? {
        if answer.len() + chunk.len() > ANSWER_BYTES {
            return Err(format!("the collector's answer is longer than {ANSWER_BYTES} bytes").into());
        }
        answer.extend_from_slice(&chunk);
    }
    let mut response = Response::new(Bytes::from(answer));
    (*response.status_mut(), *response.headers_mut()) = (status, headers);
    Ok(response)
}
