//! Tracers and the spans they begin.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use contracts::TraceParent;
use opentelemetry::trace::{
    Link, Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags, TraceId,
    TraceState, Tracer as _,
};
use opentelemetry::{Context, KeyValue, Value};
use prometheus_client::metrics::counter::Counter;

/// Begins the spans of one service. Clones share the way out.
#[derive(Clone, Default)]
pub struct Tracer(Option<Arc<Recorder>>);

struct Recorder {
    tracer: opentelemetry_sdk::trace::SdkTracer,
    sample_ratio: f64,
    recorded: Counter,
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tracer").field(&self.0.is_some()).finish()
    }
}

impl Tracer {
    /// Records nothing and passes parents on.
    pub fn off() -> Self {
        Self(None)
    }

    pub(crate) fn new(tracer: opentelemetry_sdk::trace::SdkTracer, sample_ratio: f64, recorded: Counter) -> Self {
        Self(Some(Arc::new(Recorder { tracer, sample_ratio, recorded })))
    }

    /// A span below `parent`, or the root of a new trace. It ends when it is dropped.
    pub fn begin(&self, kind: SpanKind, name: impl Into<Cow<'static, str>>, parent: Option<TraceParent>) -> Span {
        self.begin_linked(kind, name, parent, &[])
    }

    /// The same, for work that is done for more than its parent: `others` are linked.
    pub fn begin_linked(
        &self,
        kind: SpanKind,
        name: impl Into<Cow<'static, str>>,
        parent: Option<TraceParent>,
        others: &[TraceParent],
    ) -> Span {
        let Some(recorder) = self.0.as_ref().filter(|recorder| recorder.wants(parent)) else {
            return Span { place: parent, recording: None };
        };
        let links = others.iter().map(|other| Link::with_context(context(*other))).collect();
        let builder = SpanBuilder::from_name(name).with_kind(kind).with_links(links);
        let above = match parent {
            Some(parent) => Context::new().with_remote_span_context(context(parent)),
            None => Context::new(),
        };
        let span = recorder.tracer.build_with_context(builder, &above);
        recorder.recorded.inc();
        Span { place: Some(place(span.span_context())), recording: Some(span) }
    }
}

impl Recorder {
    fn wants(&self, parent: Option<TraceParent>) -> bool {
        parent.map_or_else(|| rand::random::<f64>() < self.sample_ratio, |parent| parent.sampled)
    }
}

fn context(place: TraceParent) -> SpanContext {
    let flags = if place.sampled { TraceFlags::SAMPLED } else { TraceFlags::NOT_SAMPLED };
    SpanContext::new(TraceId::from(place.trace), SpanId::from(place.span), flags, true, TraceState::NONE)
}

fn place(context: &SpanContext) -> TraceParent {
    TraceParent {
        trace: u128::from_be_bytes(context.trace_id().to_bytes()),
        span: u64::from_be_bytes(context.span_id().to_bytes()),
        sampled: context.is_sampled(),
    }
}

/// One piece of work. If it is not recorded, it only knows its place.
#[derive(Debug)]
pub struct Span {
    place: Option<TraceParent>,
    recording: Option<opentelemetry_sdk::trace::Span>,
}

impl Span {
    /// The parent of whatever this work asks others to do.
    pub fn place(&self) -> Option<TraceParent> {
        self.place
    }

    /// [`Span::place`] as a header's value.
    pub fn traceparent(&self) -> Option<String> {
        self.place.map(|place| place.to_string())
    }

    pub fn is_recorded(&self) -> bool {
        self.recording.is_some()
    }

    /// Names are those of OpenTelemetry's semantic conventions, or begin with `cyto.`.
    pub fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        if let Some(span) = &mut self.recording {
            span.set_attribute(KeyValue::new(name, value));
        }
    }

    /// The work failed; `code` is a stable error code.
    pub fn fail(&mut self, code: impl Into<Cow<'static, str>>) {
        if let Some(span) = &mut self.recording {
            let code = code.into();
            span.set_attribute(KeyValue::new("error.type", code.clone()));
            span.set_status(Status::error(code));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tracer_that_is_off_passes_the_parent_on() {
        let parent = TraceParent::begin((7, 9), true);
        let mut span = Tracer::off().begin(SpanKind::Server, "GET /", Some(parent));
        span.set("http.route", "/");
        span.fail("cell/internal");
        assert_eq!((span.place(), span.is_recorded()), (Some(parent), false));
        assert_eq!(Tracer::off().begin(SpanKind::Internal, "job", None).place(), None);
    }

    #[test]
    fn places_survive_the_library() {
        let here = TraceParent { trace: 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736, span: 0x00f0_67aa, sampled: true };
        assert_eq!(place(&context(here)), here);
    }
}
