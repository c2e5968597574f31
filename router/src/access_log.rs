//! The access log: one JSON line per request on standard output, written by one thread.
//!
//! Requests never wait for the log. When it cannot keep up lines are dropped and counted.

use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use serde::Serialize;

use crate::metrics::Metrics;

const QUEUE: usize = 16 * 1024;
const QUIET: Duration = Duration::from_millis(20);
const FOREVER: Duration = Duration::from_secs(3600);
const FLUSH_PATIENCE: Duration = Duration::from_millis(500);

/// One request. Holds no token, no header value and no query.
#[derive(Debug, Serialize)]
pub struct Line {
    pub time: String,
    pub listener: &'static str,
    pub request_id: String,
    pub trace_id: String,
    pub method: String,
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
    pub tenant: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cell: Option<String>,
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
    pub client: Option<String>,
}

enum Entry {
    Line(Box<Line>),
    /// Answered once everything before it has been written.
    Flush(SyncSender<()>),
}

/// The way in for requests.
#[derive(Clone)]
pub struct AccessLog {
    queue: SyncSender<Entry>,
    metrics: Arc<Metrics>,
}

impl AccessLog {
    pub fn start(metrics: Arc<Metrics>) -> std::io::Result<Self> {
        let (queue, entries) = sync_channel(QUEUE);
        std::thread::Builder::new().name("access-log".into()).spawn(move || write(&entries))?;
        Ok(Self { queue, metrics })
    }

    pub fn put(&self, line: Line) {
        if self.queue.try_send(Entry::Line(Box::new(line))).is_err() {
            self.metrics.log_lines_lost.inc();
        }
    }

    /// Waits until every line taken so far has been written, or the log has failed.
    pub fn flush(&self) {
        let (done, written) = sync_channel(1);
        let sent = self.queue.send(Entry::Flush(done)).is_ok();
        if !sent || written.recv_timeout(FLUSH_PATIENCE).is_err() {
            tracing::error!("the last access log lines could not be written");
        }
    }
}

fn write(entries: &Receiver<Entry>) {
    let mut out = std::io::BufWriter::with_capacity(64 * 1024, std::io::stdout());
    let mut unflushed = false;
    loop {
        // A quiet moment flushes; a busy log is flushed by its buffer.
        let wait = if unflushed { QUIET } else { FOREVER };
        match entries.recv_timeout(wait) {
            Ok(Entry::Line(line)) => unflushed |= put_line(&mut out, &line).is_ok(),
            Ok(Entry::Flush(done)) => {
                unflushed = out.flush().is_err();
                // Nobody waiting any more is no fault of the log.
                let _ = done.send(());
            }
            Err(RecvTimeoutError::Timeout) => unflushed = unflushed && out.flush().is_err(),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn put_line(out: &mut impl Write, line: &Line) -> std::io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}
