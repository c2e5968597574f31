//! The access log: one JSON line per request on standard output, written by one thread.
//!
//! Requests never wait for the log. When it cannot keep up lines are dropped and counted.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use contracts::{CellId, TenantId, TraceParent};
use http::Method;
use parking_lot::{Condvar, Mutex};
use serde::{Serialize, Serializer};
use time::OffsetDateTime;

use crate::metrics::Metrics;

/// Lines that wait to be written, of some 600 bytes each.
const QUEUE: usize = 16 * 1024;
/// Lines that come in this time are written together.
const GATHER: Duration = Duration::from_millis(20);
const FLUSH_PATIENCE: Duration = Duration::from_millis(500);

/// One request. Holds no token, no header value and no query. Its texts are made by the thread that writes it.
#[derive(Debug, Serialize)]
pub struct Line {
    #[serde(serialize_with = "timestamp")]
    pub time: OffsetDateTime,
    pub listener: &'static str,
    pub request_id: String,
    #[serde(serialize_with = "trace_id")]
    pub trace_id: TraceParent,
    #[serde(serialize_with = "method")]
    pub method: Method,
    pub host: String,
    pub path: String,
    pub version: &'static str,
    pub status: u16,
    /// gRPC callers are always answered 200; this is what the router told them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cell: Option<CellId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    pub attempts: u8,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Whole life, in milliseconds.
    pub ms: f64,
    /// From the request header sent to the cell to its response header, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_ms: Option<f64>,
    /// Time to the response header not spent in the cell, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub added_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<SocketAddr>,
}

/// The way in for requests.
#[derive(Clone)]
pub struct AccessLog(Arc<Writer>);

/// Ends the writing thread when the last way in is gone.
struct Writer {
    queue: Arc<Queue>,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    lines: Vec<Line>,
    /// Answered once everything before has been written.
    flushes: Vec<SyncSender<()>>,
    /// The thread waits to be woken. It is not while lines come: waking it for each would cost a request more
    /// than writing its line.
    asleep: bool,
    ended: bool,
}

impl AccessLog {
    pub fn start(metrics: Arc<Metrics>) -> std::io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let (reading, counts) = (Arc::clone(&queue), Arc::clone(&metrics));
        std::thread::Builder::new().name("access-log".into()).spawn(move || write(&reading, &counts))?;
        Ok(Self(Arc::new(Writer { queue, metrics })))
    }

    pub fn put(&self, line: Line) {
        let mut state = self.0.queue.state.lock();
        if state.lines.len() >= QUEUE {
            drop(state);
            self.0.metrics.log_lines_lost.inc();
            return;
        }
        state.lines.push(line);
        self.0.queue.wake(&mut state);
    }

    /// Waits until every line taken so far has been written, or the log has failed.
    pub fn flush(&self) {
        let (done, written) = sync_channel(1);
        {
            let mut state = self.0.queue.state.lock();
            state.flushes.push(done);
            self.0.queue.wake(&mut state);
        }
        if written.recv_timeout(FLUSH_PATIENCE).is_err() {
            tracing::error!("the last access log lines could not be written");
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let mut state = self.queue.state.lock();
        state.ended = true;
        self.queue.wake(&mut state);
    }
}

impl Queue {
    fn wake(&self, state: &mut State) {
        if std::mem::take(&mut state.asleep) {
            self.wake.notify_one();
        }
    }

    /// What has come, once anything has; `None` at the end.
    fn take(&self) -> Option<(Vec<Line>, Vec<SyncSender<()>>)> {
        let mut state = self.state.lock();
        while state.lines.is_empty() && state.flushes.is_empty() {
            if state.ended {
                return None;
            }
            state.asleep = true;
            self.wake.wait(&mut state);
        }
        Some((std::mem::take(&mut state.lines), std::mem::take(&mut state.flushes)))
    }
}

fn write(queue: &Queue, metrics: &Metrics) {
    let mut out = std::io::BufWriter::with_capacity(64 * 1024, std::io::stdout());
    while let Some((lines, flushes)) = queue.take() {
        let written = lines.iter().take_while(|line| put_line(&mut out, line).is_ok()).count();
        let whole = out.flush().is_ok() && written == lines.len();
        if !whole {
            metrics.log_lines_lost.inc_by((lines.len() - written).max(1) as u64);
        }
        for done in &flushes {
            // Nobody waiting any more is no fault of the log.
            let _ = done.send(());
        }
        if flushes.is_empty() {
            std::thread::sleep(GATHER);
        }
    }
}

fn put_line(out: &mut impl Write, line: &Line) -> std::io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}

/// RFC 3339, UTC, in milliseconds.
fn timestamp<S: Serializer>(time: &OffsetDateTime, serializer: S) -> Result<S::Ok, S::Error> {
    let format =
        time::macros::format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    serializer.serialize_str(&time.format(&format).map_err(serde::ser::Error::custom)?)
}

fn trace_id<S: Serializer>(place: &TraceParent, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{:032x}", place.trace))
}

fn method<S: Serializer>(method: &Method, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(method.as_str())
}
