//! How the events a service takes are seen: a span for each, and how long it was on its way.

use contracts::Envelope;
use contracts::TraceParent;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use time::OffsetDateTime;
use trace::{Span, SpanKind, Tracer};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DeliveryLabels {
    pub service: &'static str,
    /// Declared name.
    pub event: String,
}

/// Seconds, from what made the event true to the consumer that has dealt with it.
pub(crate) type DeliverySeconds = Family<DeliveryLabels, Histogram, fn() -> Histogram>;

/// One service's view; clones share it. Nobody watches by default.
#[derive(Clone, Default)]
pub struct Deliveries(Option<Watch>);

#[derive(Clone)]
struct Watch {
    service: &'static str,
    tracer: Tracer,
    seconds: DeliverySeconds,
}

impl std::fmt::Debug for Deliveries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Deliveries").field(&self.0.as_ref().map(|watch| watch.service)).finish()
    }
}

impl Deliveries {
    pub(crate) fn new(service: &'static str, tracer: Tracer, seconds: DeliverySeconds) -> Self {
        Self(Some(Watch { service, tracer, seconds }))
    }

    /// An event is about to be dealt with, as a part of the trace that made it.
    pub fn begin<P>(&self, envelope: &Envelope<P>) -> Handling {
        let Some(watch) = &self.0 else {
            return Handling { span: Tracer::off().begin(SpanKind::Consumer, "", None), clock: None };
        };
        let parent: Option<TraceParent> = envelope.traceparent.as_deref().and_then(|text| text.parse().ok());
        // An event of no trace does not begin one: most of them are nobody's question.
        let tracer = if parent.is_some() { watch.tracer.clone() } else { Tracer::off() };
        let mut span = tracer.begin(SpanKind::Consumer, format!("process {}", envelope.event_type), parent);
        if span.is_recorded() {
            span.set("messaging.operation.name", "process");
            span.set("messaging.destination.name", envelope.event_type.clone());
            span.set("messaging.message.id", envelope.event_id.to_string());
            span.set("cyto.tenant", envelope.tenant.to_string());
            span.set("cyto.request_id", envelope.correlation_id.clone());
        }
        let labels = DeliveryLabels { service: watch.service, event: envelope.event_type.clone() };
        Handling { span, clock: Some((envelope.occurred_at, watch.seconds.get_or_create_owned(&labels))) }
    }
}

/// One event under way. Dropped without [`Handling::done`] it was not dealt with.
#[derive(Debug)]
pub struct Handling {
    pub span: Span,
    clock: Option<(OffsetDateTime, Histogram)>,
}

impl Handling {
    pub fn done(self) {
        if let Some((occurred_at, seconds)) = self.clock {
            // Two clocks of one cell may differ by a little.
            seconds.observe((OffsetDateTime::now_utc() - occurred_at).as_seconds_f64().max(0.0));
        }
    }
}
