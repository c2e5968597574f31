//! Records that are given up.

use contracts::events::STREAMING_RECORD_ACCEPTED;
use event_bus_data::{Letter, Position, Reason};
use futures::future::try_join_all;
use kit::fault::chain;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Sink;
use super::patience::persistently;
use crate::domain::round::{Poison, StreamRows};
use crate::error::Error;

/// On their way at the same time.
const AT_ONCE: usize = 256;

/// Puts a record into the dead letters that is no row.
pub async fn bury(sink: &Sink, poison: &Poison) -> Result<(), Error> {
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

/// The same for all rows of a stream.
pub async fn bury_all(
    sink: &Sink,
    stream: Uuid,
    rows: &StreamRows,
    code: &str,
    detail: &str,
    stopping: &CancellationToken,
) -> Result<(), Error> {
    tracing::error!(tenant = %rows.tenant, %stream, rows = rows.len(), code, detail, "rows given up");
    let all: Vec<usize> = (0..rows.len()).collect();
    for together in all.chunks(AT_ONCE) {
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

/// Puts a row into the dead letters, with the labels it came with.
pub async fn bury_row(
    sink: &Sink,
    stream: Uuid,
    rows: &StreamRows,
    at: usize,
    reason: Reason<'_>,
) -> Result<(), Error> {
    let headers = [
        (contracts::headers::RECORD_TENANT.to_owned(), rows.tenant.as_str().as_bytes().to_vec()),
        (contracts::headers::RECORD_STREAM.to_owned(), stream.to_string().into_bytes()),
        (contracts::headers::RECORD_SCHEMA_VERSION.to_owned(), rows.versions[at].to_string().into_bytes()),
    ];
    let (key, place) = (format!("{}/{stream}", rows.tenant), rows.places[at]);
    let letter = Letter {
        topic: STREAMING_RECORD_ACCEPTED,
        position: Position { partition: place.partition, offset: place.offset },
        key: key.as_bytes(),
        payload: rows.row(at).trim_ascii_end(),
        headers: &headers,
    };
    sink.log.bury(letter, reason).await?;
    (sink.counters.dead_letters)(1);
    Ok(())
}
