//! Events that must not be lost leave with the transaction that made them true.
//!
//! [`put`] writes the event beside the change; [`relay`] hands it to its bus in order and forgets
//! it only after the bus has acknowledged. A crash in between publishes it again: consumers are
//! idempotent by event id.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use contracts::events::{self, Bus};
use contracts::{Envelope, TenantId};
use serde::Serialize;
use sqlx::Row;
use sqlx::postgres::PgListener;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::Scope;
use crate::database::{Database, DatabaseError, Tx};
use crate::metrics::Seconds;
use crate::tasks::{Policy, Tasks};

/// Rows per round; a round's publishes are in flight together.
const BATCH: i64 = 256;
/// How long the relay sleeps without a wake-up: covers a lost notification.
const POLL: Duration = Duration::from_secs(2);
const RETRY: Duration = Duration::from_millis(500);
const CHANNEL: &str = "cyto_outbox";
/// Longest envelope. Both buses take a million bytes with the headers; one that no bus takes would hold
/// back all that stands behind it.
const MAX_ENVELOPE_BYTES: usize = 990_000;

/// Which bus a publisher serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BusKind {
    Control,
    Data,
}

impl BusKind {
    /// As metrics and task names call it.
    pub fn name(self) -> &'static str {
        match self {
            BusKind::Control => "control",
            BusKind::Data => "data",
        }
    }
}

fn bus_of(event_name: &str) -> Option<BusKind> {
    events::find(event_name).map(|e| match e.bus {
        Bus::Control { .. } => BusKind::Control,
        Bus::Data { .. } => BusKind::Data,
    })
}

/// An event on its way out.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Declared name, for example `dataset.transaction.committed.v1`.
    pub event: String,
    pub tenant: TenantId,
    pub key: String,
    pub event_id: Uuid,
    /// [`Envelope`] as JSON.
    pub envelope: String,
    /// OpenLineage headers, for the data bus.
    pub headers: BTreeMap<String, String>,
}

#[derive(Debug, thiserror::Error)]
#[error("the bus did not take the event")]
pub struct PublishError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// A bus, as the relay sees it.
#[async_trait]
pub trait Publisher: Send + Sync {
    fn bus(&self) -> BusKind;
    /// Returns when every event of the batch is acknowledged; on an error none may be forgotten.
    async fn publish(&self, batch: &[Outgoing]) -> Result<(), PublishError>;
}

/// Writes an event into the transaction. `event` must be declared in `contracts::events`.
pub async fn put<P: Serialize>(
    tx: &mut Tx,
    scope: &Scope,
    event: &'static str,
    key: &str,
    event_id: Uuid,
    payload: &P,
) -> Result<(), DatabaseError> {
    let now = OffsetDateTime::now_utc();
    let envelope = Envelope {
        event_id,
        event_type: event.to_owned(),
        tenant: scope.tenant.clone(),
        occurred_at: now,
        correlation_id: scope.request_id.clone(),
        causation_id: None,
        traceparent: scope.traceparent.clone(),
        payload,
    };
    let text = serde_json::to_string(&envelope).map_err(DatabaseError::Event)?;
    if text.len() > MAX_ENVELOPE_BYTES {
        return Err(DatabaseError::EventTooLarge { event, bytes: text.len() });
    }
    // One round trip for both: every transaction of every service pays for it.
    sqlx::query(
        "with kept as (insert into outbox (event_id, event_name, tenant_id, key, envelope, headers)
         values ($1, $2, $3, $4, $5, $6) on conflict (event_id) do nothing)
         select pg_notify($7, '')",
    )
    .bind(event_id)
    .bind(event)
    .bind(scope.tenant.as_str())
    .bind(format!("{}/{key}", scope.tenant))
    .bind(text)
    .bind(sqlx::types::Json(lineage_headers(event, event_id, now)))
    .bind(CHANNEL)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The OpenLineage headers of a domain event: its job is the publishing of that event, its run
/// the event itself.
fn lineage_headers(event: &str, event_id: Uuid, at: OffsetDateTime) -> BTreeMap<String, String> {
    use contracts::headers::{OL_EVENT_TIME, OL_JOB_NAME, OL_NAMESPACE, OL_PRODUCER, OL_RUN_ID};
    let owner = events::find(event).map_or("unknown", |e| e.owner);
    let time = at.format(&time::format_description::well_known::Rfc3339).unwrap_or_default();
    BTreeMap::from([
        (OL_NAMESPACE.to_owned(), format!("of://{owner}")),
        (OL_JOB_NAME.to_owned(), event.to_owned()),
        (OL_RUN_ID.to_owned(), event_id.to_string()),
        (OL_EVENT_TIME.to_owned(), time),
        (OL_PRODUCER.to_owned(), format!("https://cytoplane.dev/{owner}")),
    ])
}

/// Spawns the relay of a service's outbox to one bus. Give each bus its own relay: one bus being
/// away does not hold back the other.
pub fn relay(tasks: &Tasks, database: Database, publisher: Arc<dyn Publisher>, stalled: Seconds) {
    let stopping = tasks.stopping();
    let name = format!("outbox relay ({})", publisher.bus().name());
    tasks.spawn(name, Policy::EndProcess, async move {
        let mut listener: Option<PgListener> = None;
        let mut progress = Instant::now();
        loop {
            let drained = drain(&database, publisher.as_ref()).await;
            if drained.is_ok() {
                progress = Instant::now();
            }
            stalled.set(if drained.is_ok() { 0.0 } else { progress.elapsed().as_secs_f64() });
            let wait = match drained {
                Ok(0) => POLL,
                // Whatever came after a batch that was not full has sent its own wake-up.
                Ok(rows) if rows < BATCH as usize && listener.is_some() => POLL,
                Ok(_) => Duration::ZERO,
                Err(error) => {
                    tracing::warn!(error = %crate::fault::chain(error.as_ref()), "outbox waits for its bus");
                    listener = None;
                    RETRY
                }
            };
            if wait.is_zero() && !stopping.is_cancelled() {
                continue;
            }
            if listener.is_none() {
                listener = listen(&database).await;
            }
            tokio::select! {
                () = stopping.cancelled() => return Ok(()),
                () = tokio::time::sleep(wait) => {}
                woken = wake(&mut listener), if wait == POLL => {
                    if !woken { listener = None; }
                }
            }
        }
    });
}

async fn listen(database: &Database) -> Option<PgListener> {
    let mut listener = PgListener::connect_with(database.pool()).await.ok()?;
    listener.listen(CHANNEL).await.ok()?;
    Some(listener)
}

/// Resolves on a notification; never, when there is no listener.
async fn wake(listener: &mut Option<PgListener>) -> bool {
    match listener {
        Some(listener) => listener.recv().await.is_ok(),
        None => std::future::pending().await,
    }
}

/// Publishes one batch. The rows stay locked while they are in flight, so two relays of one
/// service never publish the same row at the same time.
async fn drain(
    database: &Database,
    publisher: &dyn Publisher,
) -> Result<usize, Box<dyn std::error::Error + Send + Sync>> {
    let mut tx = database.begin_system().await?;
    let names: Vec<&str> =
        events::EVENTS.iter().map(|e| e.name).filter(|name| bus_of(name) == Some(publisher.bus())).collect();
    let rows = sqlx::query(
        "select id, event_id, event_name, tenant_id, key, envelope, headers from outbox
         where event_name = any($1) order by id limit $2 for update skip locked",
    )
    .bind(&names)
    .bind(BATCH)
    .fetch_all(&mut *tx)
    .await?;
    if rows.is_empty() {
        return Ok(0);
    }
    let mut ids: Vec<i64> = Vec::with_capacity(rows.len());
    let mut batch = Vec::with_capacity(rows.len());
    for row in &rows {
        ids.push(row.try_get("id")?);
        let headers: sqlx::types::Json<BTreeMap<String, String>> = row.try_get("headers")?;
        batch.push(Outgoing {
            event: row.try_get("event_name")?,
            tenant: TenantId::new(row.try_get::<String, _>("tenant_id")?)?,
            key: row.try_get("key")?,
            event_id: row.try_get("event_id")?,
            envelope: row.try_get("envelope")?,
            headers: headers.0,
        });
    }
    publisher.publish(&batch).await?;
    sqlx::query("delete from outbox where id = any($1)").bind(&ids).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(batch.len())
}
