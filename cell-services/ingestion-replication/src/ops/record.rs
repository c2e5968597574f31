//! Telling others of a commit, once, after it happened.

use contracts::envelope::event_id;
use contracts::events::{
    LINEAGE_RUN_EVENT, LineageDataset, LineageRunEvent, SINK_COMMITTED, STREAMING_RECORD_ACCEPTED, SinkCommitted,
};
use kit::{Scope, outbox};
use uuid::Uuid;

use super::App;
use super::commit::Outcome;
use crate::error::Error;
use crate::store::{self, Progressed};

/// Writes the commit down and its events into the outbox. A commit whose record was lost in a crash
/// is recorded when its rows come again, because the snapshot is not the one recorded.
pub async fn record(app: &App, scope: &Scope, stream: Uuid, outcome: &Outcome) -> Result<(), Error> {
    let mut tx = app.database.begin(scope).await?;
    store::put_sink(&mut tx, scope, stream, &outcome.name, outcome.table.name()).await?;
    if outcome.dead > 0 {
        store::count_dead_letters(&mut tx, scope, stream, i64::try_from(outcome.dead).unwrap_or(i64::MAX)).await?;
    }
    if let Some(snapshot_id) = outcome.snapshot_id {
        let rows = i64::try_from(outcome.total).unwrap_or(i64::MAX);
        let commit = Progressed { stream, rows, offsets: &outcome.offsets, snapshot_id };
        if let Some(recorded) = store::record_commit(&mut tx, scope, &commit, app.settings.lineage_seconds).await? {
            let added = rows.saturating_sub(recorded.rows_before).max(0).unsigned_abs();
            let event = SinkCommitted {
                stream,
                table: outcome.table.to_string(),
                snapshot_id,
                rows: added,
                total_rows: outcome.total,
            };
            // The snapshot is the fact: the same one always has the same event id.
            let id = event_id(&stream, snapshot_id.unsigned_abs(), SINK_COMMITTED);
            outbox::put(&mut tx, scope, SINK_COMMITTED, &stream.to_string(), id, &event).await?;
            if recorded.lineage_due {
                let run = event_id(&stream, snapshot_id.unsigned_abs(), LINEAGE_RUN_EVENT);
                let event = lineage(app, scope, outcome, run);
                outbox::put(&mut tx, scope, LINEAGE_RUN_EVENT, &run.to_string(), run, &event).await?;
            }
        }
    }
    tx.commit().await?;
    Ok(())
}

/// Counts rows that were given up with their whole table; nothing for a stream that has no sink.
pub async fn record_dead(app: &App, scope: &Scope, stream: Uuid, count: u64) -> Result<(), Error> {
    let mut tx = app.database.begin(scope).await?;
    store::count_dead_letters(&mut tx, scope, stream, i64::try_from(count).unwrap_or(i64::MAX)).await?;
    tx.commit().await?;
    Ok(())
}

fn lineage(app: &App, scope: &Scope, outcome: &Outcome, run: Uuid) -> LineageRunEvent {
    let dataset = |namespace: String, name: String| LineageDataset { namespace, name, facets: None };
    LineageRunEvent {
        event_type: "COMPLETE".to_owned(),
        run_id: run,
        job_namespace: format!("cytoplane://{}/{}", app.cell, scope.tenant),
        job_name: format!("sink/{}", outcome.name),
        inputs: vec![dataset(format!("kafka://{}", app.cell), format!("{STREAMING_RECORD_ACCEPTED}/{}", outcome.name))],
        outputs: vec![dataset(format!("iceberg://{}", scope.tenant), outcome.table.to_string())],
        producer: app.producer(),
    }
}
