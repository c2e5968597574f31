//! Taking a batch of rows: check each, enqueue the good ones, answer after all acknowledgements.
//!
//! Memory is constant: one chunk of the body, one row, the bus's bounded queue. A batch that ends
//! in an error may be partly on the bus, and a repeat of it sends everything again; a batch that
//! was answered under its Idempotency-Key is answered from memory and never sent twice.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use contracts::claims::scope::STREAMS_WRITE;
use contracts::events::{LINEAGE_RUN_EVENT, LineageDataset, LineageRunEvent, STREAMING_RECORD_ACCEPTED};
use contracts::headers;
use event_bus_data::{Batch, OpenLineage, RecordHeaders};
use futures::{Stream, StreamExt};
use kit::tasks::Policy;
use kit::{Scope, outbox};
use tokio::sync::oneshot;
use trace::{Span, SpanKind, Tracer};
use uuid::Uuid;

use super::batch_key::{self, Claimed, Claiming};
use super::rows::{Form, Row, RowReader};
use super::{App, streams};
use crate::domain::Schema;
use crate::domain::outcome::BatchOutcome;
use crate::domain::row::{FieldError, RowCheck};
use crate::error::Error;
use crate::store::{self, StreamRow};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// Bad rows are left out and told.
    Skip,
    /// The first bad row ends the batch; the rows before it are in.
    Abort,
}

/// How a batch came.
pub struct Arrival {
    pub form: Form,
    pub on_error: OnError,
    pub idempotency_key: Option<String>,
    pub body: Body,
}

/// The outcome, and whether it was answered from memory.
pub struct Taken {
    pub outcome: BatchOutcome,
    pub replayed: bool,
}

pub async fn take(app: &Arc<App>, scope: Scope, reference: &str, arrival: Arrival) -> Result<Taken, Error> {
    scope.require(STREAMS_WRITE)?;
    let stream = streams::find(app, &scope, reference).await?;
    let claim = match &arrival.idempotency_key {
        None => None,
        Some(key) => {
            let sent = batch_key::digest(arrival.form, arrival.on_error);
            match batch_key::claim(app, &scope, stream.id, key, sent.clone()).await? {
                Claiming::Ours(claim) => Some(claim),
                Claiming::Before(done) => {
                    let outcome = batch_key::repeat(app, arrival.body, sent, done).await?;
                    return Ok(Taken { outcome, replayed: true });
                }
            }
        }
    };
    // A caller that goes away must not stop the work half-way with its key still claimed.
    let (answer, answered) = oneshot::channel();
    let (app, worker) = (Arc::clone(app), Arc::clone(app));
    app.tasks.spawn("batch of rows", Policy::Once, async move {
        let result = work(&worker, &scope, &stream, claim, arrival).await;
        if answer.send(result).is_err() {
            tracing::debug!("nobody waits for this batch any more");
        }
        Ok(())
    });
    let outcome = answered.await.map_err(|_| Error::Stopping)??;
    Ok(Taken { outcome, replayed: false })
}

async fn work(
    app: &App,
    scope: &Scope,
    stream: &StreamRow,
    mut claim: Option<Claimed>,
    arrival: Arrival,
) -> Result<BatchOutcome, Error> {
    let (on_error, run) = (arrival.on_error, Uuid::now_v7());
    let result = intake(app, scope, stream, claim.as_mut(), run, arrival).await;
    if let Ok(outcome) = &result {
        (app.counters.accepted)(outcome.accepted);
        (app.counters.rejected)(outcome.rejected);
    }
    let whole = match result {
        Ok(outcome) if outcome.rejected > 0 && on_error == OnError::Abort => Err(outcome),
        Ok(outcome) => Ok(outcome),
        Err(error) => {
            release(app, scope, claim.as_ref()).await;
            return Err(error);
        }
    };
    let outcome = match &whole {
        Ok(outcome) | Err(outcome) => outcome,
    };
    finish(app, scope, stream, claim.as_ref().filter(|_| whole.is_ok()), run, outcome).await?;
    match whole {
        Ok(outcome) => Ok(outcome),
        Err(outcome) => {
            release(app, scope, claim.as_ref()).await;
            let row = outcome.accepted + outcome.rejected;
            Err(Error::Aborted { row, outcome: serde_json::to_value(outcome).map_err(Error::Stored)? })
        }
    }
}

/// The batch on its way onto the bus.
struct Intake<'a> {
    check: RowCheck<'a>,
    batch: Batch<'static>,
    keys: Vec<Vec<u8>>,
    headers: RecordHeaders,
    outcome: BatchOutcome,
    rows: u64,
    rows_per_shard: u64,
    errors_told: usize,
}

impl Intake<'_> {
    async fn row(&mut self, row: Row) -> Result<(), Error> {
        self.rows += 1;
        let errors = match row {
            Row::Json(line) => match self.check.check(&line) {
                Ok(()) => return self.send(&line).await,
                Err(errors) => errors,
            },
            Row::TooLong => vec![FieldError::of_row("too-long", "the row is longer than a record may be")],
            Row::NotFinite { field } => {
                vec![FieldError {
                    field: Some(field),
                    code: "not-finite",
                    message: "NaN and infinity are no values".to_owned(),
                }]
            }
        };
        self.outcome.reject(self.rows, errors, self.errors_told);
        Ok(())
    }

    /// Neighbours share a key, so that they stay in order and travel in one broker batch.
    async fn send(&mut self, line: &Bytes) -> Result<(), Error> {
        let shard = (self.rows / self.rows_per_shard) as usize % self.keys.len();
        self.batch.send(&self.keys[shard], line, &self.headers).await?;
        Ok(())
    }
}

async fn intake(
    app: &App,
    scope: &Scope,
    stream: &StreamRow,
    mut claim: Option<&mut Claimed>,
    run: Uuid,
    arrival: Arrival,
) -> Result<BatchOutcome, Error> {
    let schema = Schema::new(stream.fields.clone()).map_err(Error::Schema)?;
    let span = sending(app, scope);
    let mut intake = Intake {
        check: RowCheck::new(&schema),
        batch: app.bus.producer().batch(STREAMING_RECORD_ACCEPTED),
        keys: keys(app, scope, stream.id),
        headers: record_headers(app, scope, stream, run, &span),
        outcome: BatchOutcome { schema_version: stream.schema_version, ..BatchOutcome::default() },
        rows: 0,
        rows_per_shard: u64::from(app.settings.rows_per_shard),
        errors_told: app.settings.errors_told,
    };
    let mut reader = RowReader::new(arrival.form);
    let mut body = arrival.body.into_data_stream();
    let mut ended = false;
    'body: while !ended {
        match next_chunk(app, &mut body).await? {
            Some(chunk) => {
                if let Some(claim) = claim.as_mut() {
                    claim.came(&chunk);
                }
                reader.feed(chunk)?;
            }
            None => {
                reader.end()?;
                ended = true;
            }
        }
        while let Some(row) = reader.next_row()? {
            intake.row(row).await?;
            if intake.outcome.rejected > 0 && arrival.on_error == OnError::Abort {
                break 'body;
            }
        }
        if let Some(claim) = claim.as_mut() {
            claim.refresh(app, scope).await?;
        }
    }
    let sent = Instant::now();
    let acknowledged = intake.batch.acknowledged().await?;
    (app.counters.acknowledged)(sent.elapsed().as_secs_f64());
    end(span, acknowledged.records);
    Ok(BatchOutcome { accepted: acknowledged.records, partitions: acknowledged.offsets, ..intake.outcome })
}

/// The next bytes, `None` at the body's end. A sender that stalls is given up.
pub(super) async fn next_chunk(
    app: &App,
    body: &mut (impl Stream<Item = Result<Bytes, axum::Error>> + Unpin),
) -> Result<Option<Bytes>, Error> {
    let idle = Duration::from_secs(app.settings.body_idle_seconds);
    match tokio::time::timeout(idle, body.next()).await {
        Ok(None) => Ok(None),
        Ok(Some(Ok(chunk))) => Ok(Some(chunk)),
        Ok(Some(Err(_))) | Err(_) => Err(Error::Body),
    }
}

/// `<tenant>/<stream>/<shard>`, beginning at a random shard so that small batches spread too.
fn keys(app: &App, scope: &Scope, stream: Uuid) -> Vec<Vec<u8>> {
    let shards = app.settings.shards;
    let first: u32 = rand::random_range(0..shards);
    (0..shards).map(|at| format!("{}/{stream}/{}", scope.tenant, (first + at) % shards).into_bytes()).collect()
}

/// From the first row to the last acknowledgement.
fn sending(app: &App, scope: &Scope) -> Span {
    let Some(place) = scope.place() else { return Tracer::off().begin(SpanKind::Producer, "", None) };
    let mut span = app.tracer.begin(SpanKind::Producer, format!("send {STREAMING_RECORD_ACCEPTED}"), Some(place));
    span.set("messaging.system", "kafka");
    span.set("messaging.operation.name", "send");
    span.set("messaging.destination.name", STREAMING_RECORD_ACCEPTED);
    span
}

fn end(mut span: Span, records: u64) {
    span.set("messaging.batch.message_count", i64::try_from(records).unwrap_or(i64::MAX));
}

fn record_headers(app: &App, scope: &Scope, stream: &StreamRow, run: Uuid, span: &Span) -> RecordHeaders {
    let lineage = OpenLineage::now(app.job_namespace(scope), job_name(stream), run, app.producer());
    let labels = RecordHeaders::new(&lineage)
        .with(headers::RECORD_TENANT, scope.tenant.as_str())
        .with(headers::RECORD_STREAM, &stream.id.to_string())
        .with(headers::RECORD_SCHEMA_VERSION, &stream.schema_version.to_string())
        .with(headers::REQUEST_ID, &scope.request_id)
        .with(headers::GENERATION, &scope.generation.to_string());
    // On every record, so only where somebody will look at it.
    match span.traceparent().filter(|_| span.is_recorded()) {
        Some(place) => labels.with(headers::TRACEPARENT, &place),
        None => labels,
    }
}

fn job_name(stream: &StreamRow) -> String {
    format!("stream/{}", stream.name)
}

/// Counts the rows, tells lineage if its pause is over, and keeps the outcome for repeats: one
/// transaction, after the bus has acknowledged.
async fn finish(
    app: &App,
    scope: &Scope,
    stream: &StreamRow,
    claim: Option<&Claimed>,
    run: Uuid,
    outcome: &BatchOutcome,
) -> Result<(), Error> {
    let rows = i64::try_from(outcome.accepted).unwrap_or(i64::MAX);
    let mut tx = app.database.begin(scope).await?;
    let lineage_due = store::count_accepted(&mut tx, scope, stream.id, rows, app.settings.lineage_seconds).await?;
    if lineage_due && outcome.accepted > 0 {
        let event = LineageRunEvent {
            event_type: "COMPLETE".to_owned(),
            run_id: run,
            job_namespace: app.job_namespace(scope),
            job_name: job_name(stream),
            inputs: Vec::new(),
            outputs: vec![LineageDataset {
                namespace: format!("kafka://{}", app.cell),
                name: format!("{STREAMING_RECORD_ACCEPTED}/{}", stream.name),
                facets: None,
            }],
            producer: app.producer(),
        };
        outbox::put(&mut tx, scope, LINEAGE_RUN_EVENT, &run.to_string(), run, &event).await?;
    }
    if let Some(claim) = claim {
        claim.finish(&mut tx, scope, outcome).await?;
    }
    tx.commit().await?;
    Ok(())
}

async fn release(app: &App, scope: &Scope, claim: Option<&Claimed>) {
    if let Some(claim) = claim {
        claim.release(app, scope).await;
    }
}
