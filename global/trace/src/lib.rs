//! Spans: what a request, a batch or a statement was doing, sent by OTLP.
//!
//! Off unless a collector is configured; then a request is recorded if whoever began its trace
//! wants it recorded. Nothing waits for the collector: spans stand in a bounded queue, and those
//! that find it full are lost and counted.
//!
//! Invariant: a span holds names, ids, sizes and codes. No statement text, no header value, no row.

mod config;
mod export;
mod span;

pub use config::{Telemetry, TelemetryError};
pub use export::{Counters, Exporter};
pub use opentelemetry::trace::SpanKind;
pub use span::{Span, Tracer};
