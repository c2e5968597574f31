//! Collectors that are away or hang: nothing waits for them, and what they miss is counted.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use contracts::TraceParent;
use trace::{Counters, Exporter, SpanKind, Telemetry};

const SPANS: u64 = 20;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Ends some spans; the counters, and how long the work and the shutdown took.
fn record(url: String, deadline: Duration) -> Outcome<(Counters, Duration, Duration)> {
    let counters = Counters::default();
    let telemetry = Telemetry { otlp: Some(url), sample_ratio: 1.0 };
    let exporter = Exporter::new(&telemetry, counters.clone())?;
    let tracer = exporter.tracer("gateway", "shared-1")?;
    let begun = Instant::now();
    for number in 0..SPANS {
        let parent = TraceParent::begin((u128::from(number), 1), true);
        let mut span = tracer.begin(SpanKind::Server, "GET /", Some(parent));
        let place = span.place().ok_or("a span without a place")?;
        assert_eq!(place.trace, parent.trace);
        assert_ne!(place.span, parent.span);
        span.set("http.route", "/");
    }
    let worked = begun.elapsed();
    exporter.shutdown(deadline);
    Ok((counters, worked, begun.elapsed()))
}

fn address(listener: &TcpListener) -> Outcome<String> {
    Ok(format!("http://{}", listener.local_addr()?))
}

#[test]
fn spans_for_a_collector_that_is_away_are_lost_and_counted() {
    rustls::crypto::ring::default_provider().install_default().ok();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = address(&listener).unwrap();
    drop(listener);
    let (counters, worked, ended) = record(url, Duration::from_secs(2)).unwrap();
    assert_eq!((counters.recorded.get(), counters.exported.get()), (SPANS, 0));
    assert!(worked < Duration::from_millis(500) && ended < Duration::from_secs(10), "{worked:?} {ended:?}");
}

#[test]
fn a_collector_that_never_answers_holds_nobody_up() {
    rustls::crypto::ring::default_provider().install_default().ok();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let (counters, worked, ended) = record(address(&silent).unwrap(), Duration::from_secs(1)).unwrap();
    assert_eq!(counters.exported.get(), 0);
    assert!(worked < Duration::from_millis(500) && ended < Duration::from_secs(10), "{worked:?} {ended:?}");
}
