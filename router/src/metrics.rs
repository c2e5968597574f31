//! Counters of the router, in Prometheus' text form. No label ever holds a tenant.

use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct RequestLabels {
    pub listener: &'static str,
    /// `2xx` … `5xx`, or `gone` for a client that left.
    pub class: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct CodeLabel {
    pub code: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ListenerLabel {
    pub listener: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct FeedLabel {
    pub feed: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ReasonLabel {
    pub reason: &'static str,
}

pub struct Metrics {
    registry: Mutex<Registry>,
    pub requests: Family<RequestLabels, Counter>,
    pub refusals: Family<CodeLabel, Counter>,
    pub seconds: Family<ListenerLabel, Histogram>,
    pub added_seconds: Family<ListenerLabel, Histogram>,
    pub retries: Family<ReasonLabel, Counter>,
    pub retries_denied: Counter,
    pub misdirected: Counter,
    pub breaches: Family<ReasonLabel, Counter>,
    pub refused_data: Family<FeedLabel, Counter>,
    pub passed_connections: Counter,
    pub feed_failures: Family<FeedLabel, Counter>,
    pub feed_restarts: Family<FeedLabel, Counter>,
    pub log_lines_lost: Counter,
    pub spans: trace::Counters,
    pub table_version: Gauge,
    pub table_tenants: Gauge,
    pub table_age: Gauge<f64, AtomicU64>,
    pub keys: Gauge,
    pub revoked: Gauge,
    pub key_cards: Gauge,
    pub in_flight: Gauge,
    pub connections: Gauge,
    pub limited_tenants: Gauge,
    pub shared_tenants: Gauge,
    pub even_share: Gauge<f64, AtomicU64>,
}

/// 50 µs to 40 s, doubling.
fn seconds() -> Histogram {
    Histogram::new(prometheus_client::metrics::histogram::exponential_buckets(0.000_05, 2.0, 20))
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Self {
            registry: Mutex::new(Registry::with_prefix("router")),
            requests: Family::default(),
            refusals: Family::default(),
            seconds: Family::new_with_constructor(seconds),
            added_seconds: Family::new_with_constructor(seconds),
            retries: Family::default(),
            retries_denied: Counter::default(),
            misdirected: Counter::default(),
            breaches: Family::default(),
            refused_data: Family::default(),
            passed_connections: Counter::default(),
            feed_failures: Family::default(),
            feed_restarts: Family::default(),
            log_lines_lost: Counter::default(),
            spans: trace::Counters::default(),
            table_version: Gauge::default(),
            table_tenants: Gauge::default(),
            table_age: Gauge::default(),
            keys: Gauge::default(),
            revoked: Gauge::default(),
            key_cards: Gauge::default(),
            in_flight: Gauge::default(),
            connections: Gauge::default(),
            limited_tenants: Gauge::default(),
            shared_tenants: Gauge::default(),
            even_share: Gauge::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&self) {
        let Ok(mut registry) = self.registry.lock() else { return };
        let r = &mut *registry;
        r.register("requests", "Requests answered, by listener and status class", self.requests.clone());
        r.register("refusals", "Requests the router answered itself, by code", self.refusals.clone());
        r.register("request_duration_seconds", "Whole life of a request", self.seconds.clone());
        r.register(
            "added_duration_seconds",
            "Time to the response header that was not spent in the cell",
            self.added_seconds.clone(),
        );
        r.register("retries", "Second attempts, by reason", self.retries.clone());
        r.register(
            "retries_denied",
            "Second attempts that were not made: the cell has had too many",
            self.retries_denied.clone(),
        );
        r.register("misdirected", "Requests a cell refused because of their placement", self.misdirected.clone());
        r.register("connection_breaches", "Connections closed for breaking a limit", self.breaches.clone());
        r.register(
            "refused_data",
            "Tables, keys and revocations refused as bad; the last good ones stay",
            self.refused_data.clone(),
        );
        r.register(
            "passed_connections",
            "TLS connections passed on to a cell's own door",
            self.passed_connections.clone(),
        );
        r.register("feed_failures", "Broken or refused feed connections", self.feed_failures.clone());
        r.register("feed_restarts", "Feed tasks restarted after a fault of their own", self.feed_restarts.clone());
        r.register(
            "access_log_lines_lost",
            "Access log lines dropped because the log could not keep up",
            self.log_lines_lost.clone(),
        );
        self.spans.register(r);
        r.register("table_version", "Version of the routing table served", self.table_version.clone());
        r.register("table_tenants", "Tenants in the routing table", self.table_tenants.clone());
        r.register(
            "table_age_seconds",
            "Time since the routing feed was last heard; -1 = never",
            self.table_age.clone(),
        );
        r.register("keys", "Keys held to check tokens with", self.keys.clone());
        r.register("revoked_sessions", "Sessions known to be revoked", self.revoked.clone());
        r.register("key_cards", "API keys whose cards are held", self.key_cards.clone());
        r.register("requests_in_flight", "Requests in flight", self.in_flight.clone());
        r.register("connections", "Open client connections", self.connections.clone());
        r.register("limited_tenants", "Tenants whose use is kept track of", self.limited_tenants.clone());
        r.register("shared_tenants", "Tenants with a share of their limit of their own", self.shared_tenants.clone());
        r.register(
            "even_share_ratio",
            "Part of each other tenant's limit that is this router's",
            self.even_share.clone(),
        );
    }

    pub fn request(&self, listener: &'static str, status: u16, whole: Duration, added: Option<Duration>) {
        self.requests.get_or_create(&RequestLabels { listener, class: class(status) }).inc();
        self.seconds.get_or_create(&ListenerLabel { listener }).observe(whole.as_secs_f64());
        if let Some(added) = added {
            self.added_seconds.get_or_create(&ListenerLabel { listener }).observe(added.as_secs_f64());
        }
    }

    pub fn retry(&self, reason: &'static str) {
        self.retries.get_or_create(&ReasonLabel { reason }).inc();
    }

    pub fn breach(&self, reason: &'static str) {
        self.breaches.get_or_create(&ReasonLabel { reason }).inc();
    }

    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        match self.registry.lock() {
            Ok(registry) => prometheus_client::encoding::text::encode(&mut text, &registry)?,
            Err(_) => return Err(std::fmt::Error),
        }
        Ok(text)
    }
}

fn class(status: u16) -> &'static str {
    match status {
        100..=199 => "1xx",
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=498 => "4xx",
        500..=599 => "5xx",
        _ => "gone",
    }
}
