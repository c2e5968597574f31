//! The access log: one JSON line per request on standard output, written by one thread.
//!
//! Requests never wait for the log. When it cannot keep up lines are dropped and counted.

use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::Serialize;

use crate::metrics::Metrics;

const QUEUE: usize = 16 * 1024;

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

/// The way in for requests.
#[derive(Clone)]
pub struct AccessLog {
    queue: SyncSender<Line>,
    metrics: Arc<Metrics>,
}

/// The writing thread; ends when every [`AccessLog`] is gone.
pub struct Writer(JoinHandle<()>);

impl AccessLog {
    pub fn start(metrics: Arc<Metrics>) -> std::io::Result<(Self, Writer)> {
        let (queue, lines) = sync_channel(QUEUE);
        let writer = std::thread::Builder::new().name("access-log".into()).spawn(move || write(&lines))?;
        Ok((Self { queue, metrics }, Writer(writer)))
    }

    pub fn put(&self, line: Line) {
        if self.queue.try_send(line).is_err() {
            self.metrics.log_lines_lost.inc();
        }
    }
}

impl Writer {
    /// Waits until every line taken has been written.
    pub fn finish(self) {
        if self.0.join().is_err() {
            tracing::error!("the access log's thread had failed");
        }
    }
}

fn write(lines: &Receiver<Line>) {
    let mut out = std::io::BufWriter::with_capacity(64 * 1024, std::io::stdout());
    let mut unflushed = false;
    loop {
        // A quiet moment flushes; a busy log is flushed by its buffer.
        let wait = if unflushed { Duration::from_millis(20) } else { Duration::from_secs(3600) };
        match lines.recv_timeout(wait) {
            Ok(line) => unflushed |= put_line(&mut out, &line).is_ok(),
            Err(RecvTimeoutError::Timeout) => {
                unflushed = false;
                let _ = out.flush();
            }
            Err(RecvTimeoutError::Disconnected) => {
                let _ = out.flush();
                return;
            }
        }
    }
}

fn put_line(out: &mut impl Write, line: &Line) -> std::io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}
