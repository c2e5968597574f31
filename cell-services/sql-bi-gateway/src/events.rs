//! Records of statements: history, audit and lineage, written together in one transaction.
//!
//! Invariant: a statement begins only after a place for its record was reserved, and its place is
//! used however it ends. While the database is away records wait; when no place is left, statements
//! are refused. At a stop the recorder ends after the last statement: when nobody holds a place or
//! could reserve one.

use std::time::Duration;

use contracts::events::{AUDIT_ENTRY_RECORDED, LINEAGE_RUN_EVENT};
use kit::database::Database;
use kit::fault::{Fault, Kind, chain};
use kit::outbox;
use kit::tasks::{Policy, Tasks};
use tokio::sync::mpsc::{self, OwnedPermit};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::domain::Run;
use crate::error::Error;
use crate::measured::Statements;
use crate::store;

const RETRY: Duration = Duration::from_millis(500);
/// Records written in one transaction.
const TOGETHER: usize = 64;
/// How long the first of them waits for others: what a record costs in Postgres, on the bus and in its consumers
/// is paid per transaction, on the cores that run the next statement.
const GATHER: Duration = Duration::from_millis(100);

/// Hands out places for records.
#[derive(Debug, Clone)]
pub struct Recorder {
    places: mpsc::Sender<Run>,
    statements: Statements,
}

/// A place for the record of one run.
#[derive(Debug)]
pub struct Place {
    place: OwnedPermit<Run>,
    statements: Statements,
}

impl Place {
    pub fn record(self, run: Run) {
        self.statements.observe(&run);
        self.place.send(run);
    }
}

impl Recorder {
    pub fn start(tasks: &Tasks, database: Database, backlog: usize, statements: Statements) -> Self {
        let (places, receiver) = mpsc::channel::<Run>(backlog);
        let stopping = tasks.stopping();
        tasks.spawn("statement records", Policy::EndProcess, async move {
            write_until_the_last(&database, receiver, &stopping).await;
            Ok(())
        });
        Self { places, statements }
    }

    /// Reserves a place, or refuses because there is none.
    pub fn reserve(&self) -> Result<Place, Error> {
        let place = self.places.clone().try_reserve_owned().map_err(|_| Error::HistoryFull)?;
        Ok(Place { place, statements: self.statements.clone() })
    }
}

async fn write_until_the_last(database: &Database, mut receiver: mpsc::Receiver<Run>, stopping: &CancellationToken) {
    let mut waiting = Vec::with_capacity(TOGETHER);
    while receiver.recv_many(&mut waiting, TOGETHER).await > 0 {
        gather(&mut receiver, &mut waiting, stopping).await;
        while let Some(left) = write_all(database, std::mem::take(&mut waiting)).await {
            if stopping.is_cancelled() {
                tracing::error!(records = left.len(), "statement records are lost: the database is away at the stop");
                break;
            }
            waiting = left;
            tokio::select! {
                () = tokio::time::sleep(RETRY) => {}
                () = stopping.cancelled() => {}
            }
        }
    }
}

/// Adds what comes within [`GATHER`], unless it is enough before.
async fn gather(receiver: &mut mpsc::Receiver<Run>, waiting: &mut Vec<Run>, stopping: &CancellationToken) {
    let late = tokio::time::sleep(GATHER);
    tokio::pin!(late);
    while let Some(room) = TOGETHER.checked_sub(waiting.len()).filter(|room| *room > 0) {
        tokio::select! {
            () = &mut late => return,
            () = stopping.cancelled() => return,
            more = receiver.recv_many(waiting, room) => if more == 0 { return },
        }
    }
}

/// Writes the runs, tenant by tenant; returns those to try again.
async fn write_all(database: &Database, mut runs: Vec<Run>) -> Option<Vec<Run>> {
    runs.sort_by(|a, b| a.scope.tenant.cmp(&b.scope.tenant).then(a.id.cmp(&b.id)));
    let mut left = Vec::new();
    for group in runs.chunk_by(|a, b| a.scope.tenant == b.scope.tenant) {
        match write(database, group).await {
            Ok(()) => {}
            Err(error) if error.kind() == Kind::Unavailable => {
                tracing::warn!(error = %chain(&error), records = group.len(), "statement records wait for the database");
                left.extend_from_slice(group);
            }
            // A tenant that has moved away keeps its history in its new cell.
            Err(error) => tracing::error!(error = %chain(&error), records = group.len(), "statement records are lost"),
        }
    }
    (!left.is_empty()).then_some(left)
}

async fn write(database: &Database, runs: &[Run]) -> Result<(), Error> {
    let newest = runs.iter().max_by_key(|run| run.scope.generation);
    let Some(scope) = newest.map(|run| &run.scope) else { return Ok(()) };
    let mut tx = database.begin(scope).await?;
    for run in runs {
        store::insert(&mut tx, scope, run).await?;
        let entry = run.audit();
        outbox::put(&mut tx, &run.scope, AUDIT_ENTRY_RECORDED, &run.scope.request_id, run.id, &entry).await?;
        if let Some(event) = run.lineage() {
            outbox::put(&mut tx, &run.scope, LINEAGE_RUN_EVENT, &event.job_name, Uuid::now_v7(), &event).await?;
        }
    }
    Ok(tx.commit().await?)
}
