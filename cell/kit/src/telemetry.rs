//! Logs: one JSON line per event on standard error, filtered by `CYTO_LOG`.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

/// Sets up logging once for the process. `CYTO_LOG` takes tracing's filter syntax; default `info`.
pub fn init() {
    let filter = EnvFilter::try_from_env("CYTO_LOG")
        .unwrap_or_else(|_| EnvFilter::new("info,async_nats=warn,rdkafka=warn,librdkafka=warn"));
    let subscriber = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_span_events(FmtSpan::NONE)
        .with_current_span(true)
        .with_span_list(false)
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // A second call (two services in one test process) keeps the first.
    let _already = subscriber.try_init();
}
