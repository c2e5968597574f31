//! The process's measurements, by the field's names and units, as Prometheus text.
//!
//! docs/metrics.md lists them all.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::deliveries::DeliverySeconds;

/// Labels of a request. Never a tenant: the number of tenants is unbounded.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    pub service: &'static str,
    pub http_request_method: &'static str,
    /// The route's pattern; empty for a path that leads nowhere.
    pub http_route: String,
    pub http_response_status_code: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ServiceLabels {
    pub service: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutboxLabels {
    pub service: &'static str,
    pub bus: &'static str,
}

/// A gauge that holds seconds.
pub type Seconds = Gauge<f64, AtomicU64>;

/// Seconds.
const LATENCY: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.02, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 30.0];

fn latency() -> Histogram {
    Histogram::new(LATENCY)
}

/// Handle to the process's registry; clones share it.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    pub(crate) requests: Family<RequestLabels, Histogram>,
    pub(crate) deliveries: DeliverySeconds,
    pub(crate) outboxes: Family<OutboxLabels, Seconds>,
    services: Family<ServiceLabels, Gauge>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("cytoplane");
        let requests = Family::new_with_constructor(latency as fn() -> Histogram);
        let deliveries = DeliverySeconds::new_with_constructor(latency);
        let (outboxes, services) = (Family::default(), Family::default());
        let r = &mut registry;
        r.register("service_info", "1 for each service that this process serves", services.clone());
        r.register("http_server_request_duration_seconds", "Time to the response's headers", requests.clone());
        r.register(
            "event_delivery_duration_seconds",
            "From what made an event true to its consumer having dealt with it",
            deliveries.clone(),
        );
        r.register(
            "outbox_stalled_seconds",
            "Time since the outbox last made progress; 0 while its bus takes everything",
            outboxes.clone(),
        );
        Self { registry: Arc::new(Mutex::new(registry)), requests, deliveries, outboxes, services }
    }
}

impl Metrics {
    /// The process serves `service` from now on.
    pub fn serves(&self, service: &'static str) {
        self.services.get_or_create(&ServiceLabels { service }).set(1);
    }

    /// A counter; the name goes without the `cytoplane_` prefix and the `_total` suffix.
    pub fn counter(&self, name: &str, help: &str) -> Counter {
        let counter = Counter::default();
        self.registry.lock().register(name, help, counter.clone());
        counter
    }

    pub fn gauge(&self, name: &str, help: &str) -> Gauge {
        let gauge = Gauge::default();
        self.registry.lock().register(name, help, gauge.clone());
        gauge
    }

    /// A latency, in seconds.
    pub fn latency(&self, name: &str, help: &str) -> Histogram {
        self.histogram(name, help, LATENCY)
    }

    /// `buckets` in the unit that the name ends with.
    pub fn histogram(&self, name: &str, help: &str, buckets: impl IntoIterator<Item = f64>) -> Histogram {
        let histogram = Histogram::new(buckets);
        self.registry.lock().register(name, help, histogram.clone());
        histogram
    }

    /// What becomes of the process's spans.
    pub fn spans(&self) -> trace::Counters {
        let counters = trace::Counters::default();
        counters.register(&mut self.registry.lock());
        counters
    }

    /// OpenMetrics text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a String cannot fail.
        let _infallible = encode(&mut text, &self.registry.lock());
        text
    }
}
