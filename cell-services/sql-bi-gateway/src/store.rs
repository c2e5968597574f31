//! The only SQL of this service.

use std::time::Duration;

use kit::Scope;
use kit::database::Tx;
use kit::retention::Retention;
use sqlx::Row;
use sqlx::postgres::PgRow;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::Run;
use crate::error::Error;

/// A run as the history shows it.
#[derive(Debug, Clone)]
pub struct Past {
    pub id: Uuid,
    pub statement_id: Uuid,
    pub actor: String,
    pub request_id: String,
    pub fingerprint: String,
    pub redacted: Option<String>,
    pub route: String,
    pub tables: Vec<String>,
    pub state: String,
    pub error: Option<String>,
    pub rows: i64,
    pub bytes: i64,
    pub started_at: OffsetDateTime,
    pub finished_at: OffsetDateTime,
}

pub async fn insert(tx: &mut Tx, scope: &Scope, run: &Run) -> Result<(), Error> {
    sqlx::query(
        "insert into statement (tenant_id, id, statement_id, actor, request_id, fingerprint, redacted, route, tables,
         state, error, rows, bytes, started_at, finished_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) on conflict do nothing",
    )
    .bind(scope.tenant.as_str())
    .bind(run.id)
    .bind(run.statement_id)
    .bind(run.scope.actor.to_string())
    .bind(&run.scope.request_id)
    .bind(&run.words.fingerprint)
    .bind(&run.words.redacted)
    .bind(run.route.name())
    .bind(run.tables())
    .bind(run.state.name())
    .bind(&run.error)
    .bind(i64::try_from(run.rows).unwrap_or(i64::MAX))
    .bind(i64::try_from(run.bytes).unwrap_or(i64::MAX))
    .bind(run.started_at)
    .bind(run.finished_at)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Newest first, from before `before`; of one actor, or of all.
pub async fn list(
    tx: &mut Tx,
    scope: &Scope,
    actor: Option<&str>,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Past>, Error> {
    let rows = sqlx::query(
        "select * from statement where tenant_id = $1 and ($2::text is null or actor = $2)
         and ($3::uuid is null or id < $3) order by id desc limit $4",
    )
    .bind(scope.tenant.as_str())
    .bind(actor)
    .bind(before)
    .bind(limit)
    .fetch_all(&mut **tx)
    .await?;
    rows.iter().map(past).collect()
}

fn past(row: &PgRow) -> Result<Past, Error> {
    Ok(Past {
        id: row.try_get("id")?,
        statement_id: row.try_get("statement_id")?,
        actor: row.try_get("actor")?,
        request_id: row.try_get("request_id")?,
        fingerprint: row.try_get("fingerprint")?,
        redacted: row.try_get("redacted")?,
        route: row.try_get("route")?,
        tables: row.try_get("tables")?,
        state: row.try_get("state")?,
        error: row.try_get("error")?,
        rows: row.try_get("rows")?,
        bytes: row.try_get("bytes")?,
        started_at: row.try_get("started_at")?,
        finished_at: row.try_get("finished_at")?,
    })
}

/// Runs are forgotten after this many days.
pub fn retention(days: u32) -> Retention {
    Retention { table: "statement", aged_by: "finished_at", kept: Duration::from_secs(24 * 3600 * u64::from(days)) }
}
