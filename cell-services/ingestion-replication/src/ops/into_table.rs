//! Rows of one stream into their table, however long it takes.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use contracts::events::STREAMING_RECORD_ACCEPTED;
use futures::FutureExt;
use kit::Fault;
use kit::fault::chain;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use trace::{Span, SpanKind, Tracer};
use uuid::Uuid;

use super::Sink;
use super::commit::{Outcome, commit};
use super::letters::bury_all;
use super::patience::{FIRST_PAUSE, LONGEST_PAUSE, pause, persistently, still, tell_of_waiting};
use crate::domain::progress::Topic;
use crate::domain::round::StreamRows;
use crate::error::Error;

/// Returns when the rows are in the table, or in the dead letters; fails only when the service stops.
pub async fn commit_stream(
    sink: &Sink,
    topic: &Topic,
    stream: Uuid,
    rows: Arc<StreamRows>,
    stopping: &CancellationToken,
) -> Result<(), Error> {
    let (mut faults, mut wait) = (0, FIRST_PAUSE);
    let mut span = seen(sink, stream, &rows);
    let attempts = if sink.tables.is_spoilt(&rows.tenant, stream) { 1 } else { sink.settings.attempts };
    let outcome = loop {
        let scope = sink.scope(&rows.tenant, rows.generation).under(&span);
        match guarded(commit(sink, &scope, stream, &rows, topic)).await {
            Ok(outcome) => break outcome,
            Err(error) if error.is_of_the_table() && faults + 1 >= attempts => {
                // A table ahead of us may be right, and the topic another by now.
                persistently(stopping, "rows to be given up", || still(sink, topic)).await?;
                sink.tables.spoilt(&rows.tenant, stream);
                span.fail(error.code());
                return bury_all(sink, stream, &rows, "table", &error.to_string(), stopping).await;
            }
            Err(error) => {
                faults += u32::from(error.is_of_the_table());
                if let Some(generation) = error.generation_required() {
                    sink.generations.learn(&rows.tenant, generation);
                }
                tell_of_waiting(&format!("stream {stream} of {}", rows.tenant), &error);
                pause(stopping, wait).await?;
                wait = (wait * 2).min(LONGEST_PAUSE);
            }
        }
    };
    sink.tables.sound(&rows.tenant, stream);
    match outcome {
        None => bury_all(sink, stream, &rows, "unknown-stream", "the tenant has no such stream", stopping).await,
        Some(outcome) => {
            told(sink, stream, &rows, &outcome, &span).await;
            Ok(())
        }
    }
}

/// A commit belongs to the trace of its first recorded row, and is linked to the others'.
fn seen(sink: &Sink, stream: Uuid, rows: &StreamRows) -> Span {
    let Some((first, others)) = rows.traces.split_first() else {
        return Tracer::off().begin(SpanKind::Consumer, "", None);
    };
    let name = format!("process {STREAMING_RECORD_ACCEPTED}");
    let mut span = sink.tracer.begin_linked(SpanKind::Consumer, name, Some(*first), others);
    span.set("messaging.system", "kafka");
    span.set("messaging.operation.name", "process");
    span.set("messaging.destination.name", STREAMING_RECORD_ACCEPTED);
    span.set("messaging.batch.message_count", i64::try_from(rows.len()).unwrap_or(i64::MAX));
    span.set("cyto.tenant", rows.tenant.to_string());
    span.set("cyto.stream", stream.to_string());
    span
}

/// A file that a library cannot take is one table's fault, not the end of the cell's sink.
async fn guarded(work: impl Future<Output = Result<Option<Outcome>, Error>>) -> Result<Option<Outcome>, Error> {
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or(Err(Error::Panicked))
}

/// After the commit: what fails here is made up for by the next commit of the stream.
async fn told(sink: &Sink, stream: Uuid, rows: &StreamRows, outcome: &Outcome, span: &Span) {
    if let Some(oldest_ms) = rows.oldest_ms {
        let now_ms = OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000;
        (sink.counters.freshness)((now_ms - i128::from(oldest_ms)).max(0) as f64 / 1000.0);
    }
    (sink.counters.rows)(outcome.added);
    tracing::debug!(tenant = %rows.tenant, %stream, table = %outcome.table, added = outcome.added, total = outcome.total, "rows committed");
    let scope = sink.scope(&rows.tenant, rows.generation).under(span);
    if let Err(error) = sink.journal.committed(&scope, stream, outcome).await {
        if let Some(generation) = error.generation_required() {
            sink.generations.learn(&rows.tenant, generation);
        }
        tracing::warn!(tenant = %rows.tenant, %stream, error = %chain(&error), "a commit is not told of yet");
    }
}
