//! The audit hook: changes, refusals and failures leave as `audit.entry.recorded.v1`.
//!
//! Invariant: a call that changes something is only passed on while there is room to record it.
//! The room is reserved before the call and used after it: normally by one insert into the outbox,
//! while the database does not answer by a place in a bounded backlog. A caller that hangs up does
//! not get out of being recorded: dropping a [`Pending`] uses its place.

use std::time::Duration;

use contracts::events::{AUDIT_ENTRY_RECORDED, AuditEntryRecorded};
use http::{Method, StatusCode};
use kit::database::{Database, DatabaseError};
use kit::fault::{Fault, Kind};
use kit::tasks::{Policy, Tasks};
use kit::{Scope, outbox};
use prometheus_client::metrics::counter::Counter;
use tokio::sync::mpsc::{self, OwnedPermit};
use uuid::Uuid;

use crate::domain;
use crate::error::Error;

const RETRY: Duration = Duration::from_millis(500);
/// nginx's word for a caller that did not wait for the answer.
const CLIENT_CLOSED: u16 = 499;

/// One entry on its way to the outbox.
#[derive(Debug)]
struct Record {
    scope: Scope,
    event_id: Uuid,
    entry: AuditEntryRecorded,
}

/// Hands out places and writes entries.
#[derive(Clone)]
pub struct Recorder {
    database: Database,
    backlog: mpsc::Sender<Record>,
    late: Counter,
}

/// What is being called; enough to record how it ended.
#[derive(Debug, Clone)]
pub struct Call {
    pub scope: Scope,
    pub method: Method,
    pub path: String,
}

/// A place in the audit log for a call under way.
pub struct Pending {
    call: Call,
    place: Option<OwnedPermit<Record>>,
}

impl Recorder {
    pub fn start(tasks: &Tasks, database: Database, backlog: usize, late: Counter) -> Self {
        let (sender, receiver) = mpsc::channel(backlog);
        let (stopping, writer) = (tasks.stopping(), database.clone());
        tasks.spawn("audit backlog", Policy::EndProcess, async move {
            write_backlog(&writer, receiver, &stopping).await;
            Ok(())
        });
        Self { database, backlog: sender, late }
    }

    /// Reserves a place, or refuses because there is none.
    pub fn reserve(&self, call: Call) -> Result<Pending, Error> {
        let place = self.backlog.clone().try_reserve_owned().map_err(|_| Error::AuditFull)?;
        Ok(Pending { call, place: Some(place) })
    }

    /// Records how a call with a place ended: one insert, or the backlog when that fails.
    pub async fn finish(&self, mut pending: Pending, status: StatusCode, code: Option<&str>) {
        let record = pending.call.record(status.as_u16(), code, 0);
        match write(&self.database, &record).await {
            // Dropping the permit gives the place back.
            Ok(()) => drop(pending.place.take()),
            Err(error) => {
                tracing::warn!(error = %kit::fault::chain(&error), "audit entry waits for the database");
                self.late.inc();
                if let Some(place) = pending.place.take() {
                    place.send(record);
                }
            }
        }
    }

    /// Records a call that needed no place: a refusal, or a read that failed. `left_out` similar
    /// ones before it were only counted.
    pub async fn note(&self, call: &Call, status: StatusCode, code: Option<&str>, left_out: u64) {
        let record = call.record(status.as_u16(), code, left_out);
        let Err(error) = write(&self.database, &record).await else { return };
        // A tenant that has moved away keeps its log in its new cell.
        if error.kind() == Kind::Misdirected {
            return;
        }
        tracing::warn!(error = %kit::fault::chain(&error), "audit entry waits for the database");
        self.late.inc();
        if self.backlog.try_send(record).is_err() {
            tracing::error!(
                path = call.path,
                status = status.as_u16(),
                "audit backlog is full: a refusal is not recorded"
            );
        }
    }
}

impl Call {
    fn record(&self, status: u16, code: Option<&str>, left_out: u64) -> Record {
        let outcome = StatusCode::from_u16(status).map_or("failed", domain::outcome);
        let mut detail = serde_json::json!({ "method": self.method.as_str() });
        if let Some(members) = detail.as_object_mut() {
            if let Some(code) = code {
                members.insert("code".to_owned(), code.into());
            }
            if left_out > 0 {
                members.insert("similarNotRecorded".to_owned(), left_out.into());
            }
        }
        Record {
            scope: self.scope.clone(),
            event_id: Uuid::now_v7(),
            entry: AuditEntryRecorded {
                request_id: self.scope.request_id.clone(),
                actor: self.scope.actor.to_string(),
                action: "http.request".to_owned(),
                resource: self.path.clone(),
                outcome: outcome.to_owned(),
                status,
                detail: Some(detail),
            },
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            place.send(self.call.record(CLIENT_CLOSED, Some("gateway/caller-hung-up"), 0));
        }
    }
}

async fn write(database: &Database, record: &Record) -> Result<(), DatabaseError> {
    let mut tx = database.begin(&record.scope).await?;
    outbox::put(&mut tx, &record.scope, AUDIT_ENTRY_RECORDED, &record.scope.request_id, record.event_id, &record.entry)
        .await?;
    tx.commit().await
}

async fn write_backlog(
    database: &Database,
    mut backlog: mpsc::Receiver<Record>,
    stopping: &tokio_util::sync::CancellationToken,
) {
    loop {
        let next = tokio::select! {
            biased;
            next = backlog.recv() => next,
            () = stopping.cancelled() => return,
        };
        let Some(record) = next else { return };
        while let Err(error) = write(database, &record).await {
            if error.kind() == Kind::Misdirected {
                break;
            }
            tokio::select! {
                () = tokio::time::sleep(RETRY) => {}
                () = stopping.cancelled() => {
                    tracing::error!(request = record.entry.request_id, "audit entry lost: stopping without a database");
                    return;
                }
            }
        }
    }
}
