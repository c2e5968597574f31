//! The only SQL of this service.

use contracts::TenantId;
use kit::Scope;
use kit::database::Tx;
use serde_json::Value;
use sqlx::Row;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::{Direction, NodeName, Run, RunEvent, RunState};
use crate::error::Error;

/// A stored event and its place.
#[derive(Debug, Clone)]
pub struct EventRow {
    pub seq: i64,
    pub event: Value,
}

/// A node as it was last seen.
#[derive(Debug, Clone)]
pub struct NodeRow {
    pub node: String,
    pub kind: String,
    pub namespace: String,
    pub name: String,
    pub latest: Value,
    pub last_seen: OffsetDateTime,
}

/// Answers whether the tenant's event is new.
pub async fn insert_event(tx: &mut Tx, tenant: &TenantId, event: &RunEvent, text: &Value) -> Result<bool, Error> {
    let done = sqlx::query(
        "insert into lineage_event (tenant_id, event_id, event_time, run_id, event) values ($1, $2, $3, $4, $5)
         on conflict (tenant_id, event_id) do nothing",
    )
    .bind(tenant.as_str())
    .bind(event.event_id)
    .bind(event.at)
    .bind(event.run_id)
    .bind(text.to_string())
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// One writer per tenant until the end of the transaction: the consumers and the API meet in the same
/// runs, nodes and edges, and what they decide rests on what they read.
pub async fn lock_tenant(tx: &mut Tx, tenant: &TenantId) -> Result<(), Error> {
    sqlx::query("select pg_advisory_xact_lock(hashtextextended($1, 0))")
        .bind(tenant.as_str())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

pub async fn run(tx: &mut Tx, tenant: &TenantId, run_id: Uuid) -> Result<Option<Run>, Error> {
    let row = sqlx::query("select state, started_at, ended_at from lineage_run where tenant_id = $1 and run_id = $2")
        .bind(tenant.as_str())
        .bind(run_id)
        .fetch_optional(&mut **tx)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let state: String = row.try_get("state")?;
    Ok(Some(Run {
        state: RunState::parse(&state).ok_or_else(|| Error::stored("a run in an unknown state"))?,
        started_at: row.try_get("started_at")?,
        ended_at: row.try_get("ended_at")?,
    }))
}

pub async fn put_run(tx: &mut Tx, tenant: &TenantId, run_id: Uuid, job: &str, run: &Run) -> Result<(), Error> {
    sqlx::query(
        "insert into lineage_run (tenant_id, run_id, job, state, started_at, ended_at) values ($1, $2, $3, $4, $5, $6)
         on conflict (tenant_id, run_id) do update
         set state = excluded.state, started_at = excluded.started_at, ended_at = excluded.ended_at",
    )
    .bind(tenant.as_str())
    .bind(run_id)
    .bind(job)
    .bind(run.state.name())
    .bind(run.started_at)
    .bind(run.ended_at)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Notes a node; an older sighting never replaces what a newer one said. Empty facets say nothing new.
pub async fn put_node(
    tx: &mut Tx,
    tenant: &TenantId,
    node: &NodeName,
    latest: &Value,
    at: OffsetDateTime,
) -> Result<(), Error> {
    sqlx::query(
        "insert into lineage_node (tenant_id, node, kind, namespace, name, latest, first_seen, last_seen)
         values ($1, $2, $3, $4, $5, $6, $7, $7)
         on conflict (tenant_id, node) do update set
         latest = case when excluded.latest <> '{}' and excluded.last_seen >= lineage_node.last_seen
                       then excluded.latest else lineage_node.latest end,
         first_seen = least(lineage_node.first_seen, excluded.first_seen),
         last_seen = greatest(lineage_node.last_seen, excluded.last_seen)",
    )
    .bind(tenant.as_str())
    .bind(node.id())
    .bind(node.kind())
    .bind(&node.namespace)
    .bind(&node.name)
    .bind(latest.to_string())
    .bind(at)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub async fn put_edge(
    tx: &mut Tx,
    tenant: &TenantId,
    edge: &(String, String),
    run: Uuid,
    at: OffsetDateTime,
) -> Result<(), Error> {
    sqlx::query(
        "insert into lineage_edge (tenant_id, origin, destination, last_run, last_seen) values ($1, $2, $3, $4, $5)
         on conflict (tenant_id, origin, destination) do update set
         last_run = case when excluded.last_seen >= lineage_edge.last_seen then excluded.last_run else lineage_edge.last_run end,
         last_seen = greatest(lineage_edge.last_seen, excluded.last_seen)",
    )
    .bind(tenant.as_str())
    .bind(&edge.0)
    .bind(&edge.1)
    .bind(run)
    .bind(at)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Newest first.
pub async fn events(
    tx: &mut Tx,
    scope: &Scope,
    run: Option<Uuid>,
    before: Option<i64>,
    limit: usize,
) -> Result<Vec<EventRow>, Error> {
    let rows = sqlx::query(
        "select seq, event from lineage_event where tenant_id = $1 and ($2::uuid is null or run_id = $2)
         and ($3::bigint is null or seq < $3) order by seq desc limit $4",
    )
    .bind(scope.tenant.as_str())
    .bind(run)
    .bind(before)
    .bind(limit as i64)
    .fetch_all(&mut **tx)
    .await?;
    rows.iter()
        .map(|row| {
            let text: String = row.try_get("event")?;
            Ok(EventRow { seq: row.try_get("seq")?, event: serde_json::from_str(&text).map_err(Error::stored)? })
        })
        .collect()
}

/// Edges that lead on from `level`, at most `limit`.
pub async fn edges(
    tx: &mut Tx,
    scope: &Scope,
    level: &[String],
    direction: Direction,
    limit: usize,
) -> Result<Vec<(String, String)>, Error> {
    let statement = match direction {
        Direction::Upstream => {
            "select origin, destination from lineage_edge where tenant_id = $1 and destination = any($2)
             order by origin, destination limit $3"
        }
        Direction::Downstream => {
            "select origin, destination from lineage_edge where tenant_id = $1 and origin = any($2)
             order by origin, destination limit $3"
        }
    };
    let rows =
        sqlx::query(statement).bind(scope.tenant.as_str()).bind(level).bind(limit as i64).fetch_all(&mut **tx).await?;
    rows.iter().map(|row| Ok((row.try_get("origin")?, row.try_get("destination")?))).collect()
}

pub async fn nodes(tx: &mut Tx, scope: &Scope, ids: &[String]) -> Result<Vec<NodeRow>, Error> {
    let rows = sqlx::query(
        "select node, kind, namespace, name, latest, last_seen from lineage_node where tenant_id = $1 and node = any($2)
         order by node",
    )
    .bind(scope.tenant.as_str())
    .bind(ids)
    .fetch_all(&mut **tx)
    .await?;
    rows.iter()
        .map(|row| {
            let latest: String = row.try_get("latest")?;
            Ok(NodeRow {
                node: row.try_get("node")?,
                kind: row.try_get("kind")?,
                namespace: row.try_get("namespace")?,
                name: row.try_get("name")?,
                latest: serde_json::from_str(&latest).map_err(Error::stored)?,
                last_seen: row.try_get("last_seen")?,
            })
        })
        .collect()
}
