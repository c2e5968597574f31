//! One stream's rows of a round into its table, exactly once.
//!
//! The table says what it has; the commit asserts the snapshot that said so. Losing the race or the
//! answer means loading the table again and leaving out what it has by then.

use std::collections::HashMap;
use std::sync::Arc;

use contracts::events::STREAMING_RECORD_ACCEPTED;
use event_bus_data::Reason;
use futures::stream;
use kit::Scope;
use lakehouse::retry::retry_commit;
use lakehouse::snapshot::{Extra, append};
use lakehouse::write::{WriteOptions, Written, write_parquet};
use lakehouse::{LoadedTable, TableName, TenantBucket};
use tokio::sync::Mutex;
use uuid::Uuid;

use super::Sink;
use super::letters::bury_row;
use super::tables::belongs;
use crate::decode::{Decoded, decode};
use crate::domain::OFFSETS_PROPERTY;
use crate::domain::progress::{Plan, Progress, ProgressError, Topic};
use crate::domain::round::StreamRows;
use crate::error::Error;

/// Races on one table lost before the round pauses.
const RACES: u32 = 10;
/// So few rows are decoded at once, within a millisecond; more are worth another thread.
const IN_PLACE: usize = 1_024;
const TOTAL_RECORDS: &str = "total-records";

/// What became of a stream's rows.
#[derive(Debug)]
pub struct Outcome {
    pub name: String,
    pub table: TableName,
    /// Rows this commit added; 0 if the table had them all.
    pub added: u64,
    /// Rows in the table now.
    pub total: u64,
    pub dead: u64,
    pub snapshot_id: Option<i64>,
    /// The table's progress now, as its property says.
    pub offsets: serde_json::Value,
}

/// Rows written as files for one plan; used again while the plan stays the same.
struct Prepared {
    plan: Plan,
    schema_id: i32,
    written: Written,
    dead: u64,
}

/// Puts the rows into their table. `None`: there is no such stream, the rows are poison.
pub async fn commit(
    sink: &Sink,
    scope: &Scope,
    stream: Uuid,
    rows: &Arc<StreamRows>,
    topic: &Topic,
) -> Result<Option<Outcome>, Error> {
    let Some(definition) = sink.definitions.get(scope, stream, rows.schema_version).await? else { return Ok(None) };
    let name = sink.tables.ensure(&sink.catalog, scope, stream, &definition).await?;
    let version = definition.version;
    let work = Work { sink, stream, rows, version, topic, bucket: sink.bucket.tenant(&scope.tenant) };
    let (prepared, failure) = (Mutex::new(Attempts::default()), Mutex::new(None::<Error>));
    let build = |table: LoadedTable| {
        let (work, prepared, failure) = (&work, &prepared, &failure);
        async move {
            match work.build(&table, &mut *prepared.lock().await).await {
                Ok(commit) => Ok(commit),
                Err(Error::Lakehouse(error)) => Err(error),
                Err(error) => {
                    *failure.lock().await = Some(error);
                    Err(lakehouse::Error::Unsupported("see the failure beside"))
                }
            }
        }
    };
    let done = retry_commit(&sink.catalog, scope, &work.bucket, &name, RACES, build).await;
    let mut prepared = prepared.into_inner();
    let committed = match done {
        Ok(committed) => committed,
        Err(error) => {
            // An unanswered commit may have happened, or happen yet: its files must stay.
            if !matches!(error, lakehouse::Error::CommitUnknown(_)) {
                prepared.discard(&work.bucket).await;
            }
            sink.tables.forget(&scope.tenant, stream);
            return Err(failure.into_inner().unwrap_or(Error::Lakehouse(error)));
        }
    };
    let written = prepared.last.take();
    if !committed.doubtful {
        prepared.discard(&work.bucket).await;
    }
    let (added, dead) = match &written {
        Some(prepared) if committed.snapshot_id.is_some() => (prepared.written.rows, prepared.dead),
        Some(prepared) => (0, prepared.dead),
        None => (0, 0),
    };
    let offsets = committed.table.metadata.properties().get(OFFSETS_PROPERTY);
    let snapshot = committed.table.metadata.current_snapshot();
    let total =
        snapshot.and_then(|s| s.summary().additional_properties.get(TOTAL_RECORDS)).and_then(|t| t.parse().ok());
    Ok(Some(Outcome {
        name: definition.name.clone(),
        table: name,
        added,
        total: total.unwrap_or(0),
        dead,
        snapshot_id: snapshot.map(|s| s.snapshot_id()),
        offsets: offsets.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default(),
    }))
}

/// Everything written for one commit, over its attempts.
#[derive(Default)]
struct Attempts {
    last: Option<Prepared>,
    /// Written for plans that did not hold.
    superseded: Vec<Written>,
}

impl Attempts {
    /// Deletes files that no snapshot has or will have.
    async fn discard(self, bucket: &TenantBucket) {
        for written in self.superseded.into_iter().chain(self.last.map(|last| last.written)) {
            written.discard(bucket).await;
        }
    }
}

struct Work<'a> {
    sink: &'a Sink,
    stream: Uuid,
    rows: &'a Arc<StreamRows>,
    /// Newest version of the stream's schema: a row that names a later one is none.
    version: i32,
    topic: &'a Topic,
    bucket: TenantBucket,
}

impl Work<'_> {
    /// The commit of what this very table lacks; `None` if it lacks nothing.
    async fn build(
        &self,
        table: &LoadedTable,
        attempts: &mut Attempts,
    ) -> Result<Option<lakehouse::snapshot::Commit>, Error> {
        // Since it was found, the table may have been dropped and its name taken.
        if !belongs(table, self.stream) {
            return Err(Error::TableTaken);
        }
        let property = table.metadata.properties().get(OFFSETS_PROPERTY).map(String::as_str);
        let progress = self.progress(property).await?;
        let plan = Plan::of(&self.rows.places, &progress);
        let schema_id = table.metadata.current_schema_id();
        if let Some(old) = attempts.last.take_if(|p| p.plan != plan || p.schema_id != schema_id) {
            attempts.superseded.push(old.written);
        }
        if plan.keep.is_empty() {
            return Ok(None);
        }
        let prepared = match &mut attempts.last {
            Some(prepared) => prepared,
            last => last.insert(self.prepare(table, plan, schema_id).await?),
        };
        let text = prepared.plan.progress.to_property(STREAMING_RECORD_ACCEPTED);
        let extra = Extra {
            summary: HashMap::from([(OFFSETS_PROPERTY.to_owned(), text.clone())]),
            properties: HashMap::from([(OFFSETS_PROPERTY.to_owned(), text)]),
        };
        Ok(Some(append(&self.bucket, table, prepared.written.files.clone(), extra).await?))
    }

    /// How far the table is; one on another cell's topic has come from there with its tenant.
    async fn progress(&self, property: Option<&str>) -> Result<Progress, Error> {
        let read = Progress::of_table(property, STREAMING_RECORD_ACCEPTED, self.topic);
        match (read, property) {
            (Err(ProgressError::OtherTopic(id)), Some(text)) => {
                if self.sink.journal.has_come_with(&self.rows.tenant, self.stream, &id).await? {
                    Ok(Progress::of_arrived(text, STREAMING_RECORD_ACCEPTED, self.topic)?)
                } else {
                    Err(ProgressError::OtherTopic(id).into())
                }
            }
            (read, _) => Ok(read?),
        }
    }

    /// Decodes and writes. Rows that cannot be decoded are in the dead letters before the table's
    /// progress passes them: a crash in between repeats a letter and never loses one.
    async fn prepare(&self, table: &LoadedTable, plan: Plan, schema_id: i32) -> Result<Prepared, Error> {
        let columns = lakehouse::schema::to_arrow(table.metadata.current_schema())?;
        let (keep, strange): (Vec<usize>, Vec<usize>) =
            plan.keep.iter().copied().partition(|at| self.rows.versions[*at] <= self.version);
        for at in &strange {
            self.bury(*at, "unknown-version", "the stream has no such schema version").await?;
        }
        let rows = Arc::clone(self.rows);
        let decoded = if keep.len() <= IN_PLACE {
            decode(&rows, &keep, &columns)
        } else {
            let decoding = tokio::task::spawn_blocking(move || decode(&rows, &keep, &columns));
            decoding.await.map_err(|_| Error::Stopping)?
        };
        let Decoded { batches, bad } = decoded.map_err(|e| Error::Columns(e.to_string()))?;
        for (at, reason) in &bad {
            self.bury(*at, "undecodable", reason).await?;
        }
        let dead = (bad.len() + strange.len()) as u64;
        let batches = stream::iter(batches.into_iter().map(Ok::<_, std::convert::Infallible>));
        let written = write_parquet(&self.bucket, &table.metadata, batches, &WriteOptions::default()).await?;
        Ok(Prepared { plan, schema_id, written, dead })
    }

    async fn bury(&self, at: usize, code: &str, detail: &str) -> Result<(), Error> {
        bury_row(self.sink, self.stream, self.rows, at, Reason { code, detail }).await
    }
}
