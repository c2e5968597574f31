//! Telling others of a commit, once, after it happened.

use async_trait::async_trait;
use contracts::envelope::event_id;
use contracts::events::{
    LINEAGE_RUN_EVENT, LineageDataset, LineageRunEvent, SINK_COMMITTED, STREAMING_RECORD_ACCEPTED, SinkCommitted,
};
use contracts::{CellId, TenantId, services};
use kit::database::{Database, Tx};
use kit::{Scope, outbox};
use uuid::Uuid;

use super::commit::Outcome;
use crate::domain::progress::{ProgressError, Topic};
use crate::error::Error;
use crate::store::{self, Progressed, Recorded};

/// Where the sink writes down what it did.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Notes that the topic of this id is read from now on. A topic made anew is an operator's
    /// decision, never ours: it is accepted only when its predecessor is the `forsaken` one.
    async fn accept(&self, topic_id: &str, forsaken: Option<&str>) -> Result<Topic, Error>;
    /// A commit whose record was lost in a crash is recorded when its rows come again, because the
    /// snapshot is not the one recorded.
    async fn committed(&self, scope: &Scope, stream: Uuid, outcome: &Outcome) -> Result<(), Error>;
    /// Whether the stream has come from a cell in which this topic was read.
    async fn has_come_with(&self, tenant: &TenantId, stream: Uuid, topic_id: &str) -> Result<bool, Error>;
    /// Counts rows that were given up with their whole table; nothing for a stream that has no sink.
    async fn given_up(&self, scope: &Scope, stream: Uuid, rows: u64) -> Result<(), Error>;
}

/// The service's own database, with the events in its outbox.
pub struct Ledger {
    pub cell: CellId,
    pub database: Database,
    /// At most one lineage event per stream in this time.
    pub lineage_seconds: u32,
}

#[async_trait]
impl Journal for Ledger {
    async fn accept(&self, topic_id: &str, forsaken: Option<&str>) -> Result<Topic, Error> {
        let mut tx = self.database.begin_system().await?;
        let known = store::topics(&mut tx).await?;
        let topic = succeeding(known, topic_id, forsaken)?;
        store::put_topic(&mut tx, topic_id).await?;
        tx.commit().await?;
        Ok(topic)
    }

    async fn committed(&self, scope: &Scope, stream: Uuid, outcome: &Outcome) -> Result<(), Error> {
        let mut tx = self.database.begin(scope).await?;
        store::put_sink(&mut tx, scope, stream, &outcome.name, outcome.table.name()).await?;
        if outcome.dead > 0 {
            store::count_dead_letters(&mut tx, scope, stream, i64::try_from(outcome.dead).unwrap_or(i64::MAX)).await?;
        }
        if let Some(snapshot_id) = outcome.snapshot_id {
            let rows = i64::try_from(outcome.total).unwrap_or(i64::MAX);
            let commit = Progressed { stream, rows, offsets: &outcome.offsets, snapshot_id };
            if let Some(recorded) = store::record_commit(&mut tx, scope, &commit, self.lineage_seconds).await? {
                self.tell(&mut tx, scope, &commit, outcome, &recorded).await?;
            }
        }
        tx.commit().await?;
        Ok(())
    }

    async fn has_come_with(&self, tenant: &TenantId, stream: Uuid, topic_id: &str) -> Result<bool, Error> {
        let mut tx = self.database.begin_system().await?;
        Ok(store::has_come_with(&mut tx, tenant, stream, topic_id).await?)
    }

    async fn given_up(&self, scope: &Scope, stream: Uuid, rows: u64) -> Result<(), Error> {
        let mut tx = self.database.begin(scope).await?;
        store::count_dead_letters(&mut tx, scope, stream, i64::try_from(rows).unwrap_or(i64::MAX)).await?;
        tx.commit().await?;
        Ok(())
    }
}

/// The topic to read, given those read so far, oldest first.
pub fn succeeding(mut known: Vec<String>, id: &str, forsaken: Option<&str>) -> Result<Topic, ProgressError> {
    match known.last() {
        Some(newest) if newest == id => drop(known.pop()),
        Some(newest) if forsaken != Some(newest) || known.iter().any(|former| former == id) => {
            return Err(ProgressError::OtherTopic(newest.clone()));
        }
        _ => {}
    }
    // Progress from before anybody kept this list.
    known.extend(forsaken.filter(|former| *former != id).map(str::to_owned));
    Ok(Topic { id: id.to_owned(), former: known.into_iter().collect() })
}

impl Ledger {
    async fn tell(
        &self,
        tx: &mut Tx,
        scope: &Scope,
        commit: &Progressed<'_>,
        outcome: &Outcome,
        recorded: &Recorded,
    ) -> Result<(), Error> {
        let Progressed { stream, snapshot_id, .. } = *commit;
        let event = SinkCommitted {
            stream,
            table: outcome.table.to_string(),
            snapshot_id,
            rows: commit.rows.saturating_sub(recorded.rows_before).max(0).unsigned_abs(),
            total_rows: outcome.total,
        };
        // The snapshot is the fact: the same one always has the same event id.
        let id = event_id(&stream, snapshot_id.unsigned_abs(), SINK_COMMITTED);
        outbox::put(tx, scope, SINK_COMMITTED, &stream.to_string(), id, &event).await?;
        if recorded.lineage_due {
            let run = event_id(&stream, snapshot_id.unsigned_abs(), LINEAGE_RUN_EVENT);
            let event = lineage(&self.cell, scope, outcome, run);
            outbox::put(tx, scope, LINEAGE_RUN_EVENT, &run.to_string(), run, &event).await?;
        }
        Ok(())
    }
}

fn lineage(cell: &CellId, scope: &Scope, outcome: &Outcome, run: Uuid) -> LineageRunEvent {
    let dataset = |namespace: String, name: String| LineageDataset { namespace, name, facets: None };
    LineageRunEvent {
        event_type: "COMPLETE".to_owned(),
        run_id: run,
        job_namespace: format!("cytoplane://{}/{}", cell, scope.tenant),
        job_name: format!("sink/{}", outcome.name),
        inputs: vec![dataset(format!("kafka://{}", cell), format!("{STREAMING_RECORD_ACCEPTED}/{}", outcome.name))],
        outputs: vec![dataset(format!("iceberg://{}", scope.tenant), outcome.table.to_string())],
        producer: format!("https://cytoplane.dev/{}", services::INGESTION_REPLICATION),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_succeeds_the_newest_one_when_an_operator_says_so() {
        let read = |known: &[&str], id, forsaken| {
            let known = known.iter().map(|id| (*id).to_owned()).collect();
            succeeding(known, id, forsaken).map(|topic| topic.former.into_iter().collect::<Vec<_>>())
        };
        let other = |id: &str| Err(ProgressError::OtherTopic(id.to_owned()));
        assert_eq!(read(&[], "a", None), Ok(vec![]));
        assert_eq!(read(&["a"], "a", None), Ok(vec![]));
        assert_eq!(read(&["a"], "b", None), other("a"));
        assert_eq!(read(&["a"], "b", Some("x")), other("a"));
        assert_eq!(read(&["a"], "b", Some("a")), Ok(vec!["a".to_owned()]));
        assert_eq!(read(&["a", "b"], "c", Some("b")), Ok(vec!["a".to_owned(), "b".to_owned()]));
        // What was given up does not come back.
        assert_eq!(read(&["a", "b"], "a", Some("b")), other("b"));
        // The order is given once and stays in the configuration.
        assert_eq!(read(&["a", "b"], "b", Some("a")), Ok(vec!["a".to_owned()]));
        assert_eq!(read(&[], "b", Some("a")), Ok(vec!["a".to_owned()]));
    }
}
