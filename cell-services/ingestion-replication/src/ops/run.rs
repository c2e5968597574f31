//! The sink's one loop: read, and commit when a commit is due.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use contracts::events::STREAMING_RECORD_ACCEPTED;
use event_bus_data::{Letter, Position, Reason};
use futures::future::try_join_all;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use kit::fault::chain;
use kit::{Fault, Kind};
use time::OffsetDateTime;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use trace::{Span, SpanKind, Tracer};
use uuid::Uuid;

use super::Sink;
use super::commit::{Outcome, bury_row, commit};
use crate::domain::due::Waiting;
use crate::domain::progress::{ProgressError, Topic};
use crate::domain::round::{Poison, Round, StreamRows};
use crate::error::Error;

/// Records taken from the client at once.
const TAKE: usize = 20_000;
/// Longest wait for the first of them: a read without any is a pause.
const WAIT: Duration = Duration::from_millis(100);
/// Dead letters on their way at the same time.
const LETTERS_AT_ONCE: usize = 256;
/// Pauses between tries while something is away.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Runs until the process stops. A stop in the middle loses nothing: what is not committed is read
/// again.
pub async fn run(sink: Arc<Sink>, stopping: CancellationToken) -> Result<(), Error> {
    // Before the first record is read: what is read then is this topic's, or is noticed not to be.
    let Ok(topic) = persistently(&stopping, "the topic", || accepted(&sink)).await else { return Ok(()) };
    let mut round = Round::default();
    let (mut oldest, mut committed) = (None::<Instant>, Instant::now());
    loop {
        let before = round.rows;
        let read = tokio::select! {
            biased;
            () = stopping.cancelled() => return Ok(()),
            read = sink.log.read(&mut round, TAKE, WAIT) => read,
        };
        if let Err(error) = read {
            tracing::warn!(error = %chain(&error), "the sink waits for the data bus");
            // A stop ends the pause, and the loop with the next read.
            let _ = pause(&stopping, LONGEST_PAUSE).await;
        }
        round.enter(sink.log.epoch());
        if round.is_empty() {
            oldest = None;
            continue;
        }
        let since = *oldest.get_or_insert_with(Instant::now);
        let waiting = Waiting {
            rows: round.rows,
            bytes: round.bytes,
            age: since.elapsed(),
            quiet: round.rows == before,
            since_commit: committed.elapsed(),
            wanted: sink.wanted.is_on(),
        };
        if !waiting.is_due(&sink.settings) {
            continue;
        }
        match commit_round(&sink, &topic, &mut round, &stopping).await {
            Ok(()) => (sink.counters.commit_seconds)(since.elapsed().as_secs_f64()),
            Err(Error::Stopping) => return Ok(()),
            Err(error) => return Err(error),
        }
        (oldest, committed) = (None, Instant::now());
    }
}

/// Everything of the round is dealt with before the group's hint moves. The topic's id is asked
/// after the reading and before each of the two: offsets of a topic made anew must not pass for the
/// old one's.
async fn commit_round(
    sink: &Sink,
    topic: &Topic,
    round: &mut Round,
    stopping: &CancellationToken,
) -> Result<(), Error> {
    persistently(stopping, "a round", || still(sink, topic)).await?;
    let poison = std::mem::take(&mut round.poison);
    for letter in &poison {
        persistently(stopping, "a dead letter", || bury(sink, letter)).await?;
    }
    let streams: Vec<_> =
        std::mem::take(&mut round.streams).into_iter().map(|((_, id), rows)| (id, Arc::new(rows))).collect();
    stream::iter(streams.into_iter().map(|(id, rows)| commit_stream(sink, topic, id, rows, stopping)))
        .buffer_unordered(sink.settings.commits_at_once)
        .try_collect::<Vec<()>>()
        .await?;
    persistently(stopping, "the group's hint", || still(sink, topic)).await?;
    if sink.log.epoch() == round.epoch()
        && let Err(error) = sink.log.hint(round.hint())
    {
        tracing::debug!(error = %chain(&error), "the hint is not committed; the tables know better anyway");
    }
    round.done();
    Ok(())
}

async fn accepted(sink: &Sink) -> Result<Topic, Error> {
    let id = sink.log.topic_id().await?;
    sink.journal.accept(&id, sink.settings.forsaken_topic_id.as_deref()).await
}

/// Whether the topic is the one that was read.
async fn still(sink: &Sink, topic: &Topic) -> Result<(), Error> {
    if sink.log.topic_id().await? == topic.id {
        return Ok(());
    }
    Err(ProgressError::OtherTopic(topic.id.clone()).into())
}

async fn commit_stream(
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

fn tell_of_waiting(what: &str, error: &Error) {
    if matches!(error, Error::Progress(_)) || error.kind() == Kind::Internal {
        tracing::error!(what, error = %chain(error), "the sink waits, and will not go on by itself");
    } else {
        tracing::warn!(what, error = %chain(error), "the sink waits");
    }
}

async fn bury(sink: &Sink, poison: &Poison) -> Result<(), Error> {
    let letter = Letter {
        topic: STREAMING_RECORD_ACCEPTED,
        position: Position { partition: poison.place.partition, offset: poison.place.offset },
        key: &poison.key,
        payload: &poison.payload,
        headers: &poison.headers,
    };
    sink.log.bury(letter, Reason { code: poison.code, detail: poison.detail }).await?;
    (sink.counters.dead_letters)(1);
    tracing::warn!(place = ?poison.place, code = poison.code, "record given up");
    Ok(())
}

async fn bury_all(
    sink: &Sink,
    stream: Uuid,
    rows: &StreamRows,
    code: &str,
    detail: &str,
    stopping: &CancellationToken,
) -> Result<(), Error> {
    tracing::error!(tenant = %rows.tenant, %stream, rows = rows.len(), code, detail, "rows given up");
    let all: Vec<usize> = (0..rows.len()).collect();
    for together in all.chunks(LETTERS_AT_ONCE) {
        let letters = together.iter().map(|at| {
            persistently(stopping, "a dead letter", move || bury_row(sink, stream, rows, *at, Reason { code, detail }))
        });
        try_join_all(letters).await?;
    }
    let scope = sink.scope(&rows.tenant, rows.generation);
    if let Err(error) = sink.journal.given_up(&scope, stream, rows.len() as u64).await {
        tracing::warn!(tenant = %rows.tenant, %stream, error = %chain(&error), "dead letters are not counted");
    }
    Ok(())
}

/// Until it works or the service stops.
async fn persistently<T, E, F>(
    stopping: &CancellationToken,
    what: &str,
    mut work: impl FnMut() -> F,
) -> Result<T, Error>
where
    E: Into<Error>,
    F: Future<Output = Result<T, E>>,
{
    let mut wait = FIRST_PAUSE;
    loop {
        match work().await {
            Ok(done) => return Ok(done),
            Err(error) => tell_of_waiting(what, &error.into()),
        }
        pause(stopping, wait).await?;
        wait = (wait * 2).min(LONGEST_PAUSE);
    }
}

async fn pause(stopping: &CancellationToken, time: Duration) -> Result<(), Error> {
    tokio::select! {
        biased;
        () = stopping.cancelled() => Err(Error::Stopping),
        () = tokio::time::sleep(time) => Ok(()),
    }
}
