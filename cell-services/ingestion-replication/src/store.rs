//! The only SQL of this service.

use contracts::TenantId;
use kit::Scope;
use kit::database::{DatabaseError, Tx};
use sqlx::Row;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;

/// A stream's table as last seen by us.
#[derive(Debug, Clone)]
pub struct SinkRow {
    pub stream: Uuid,
    pub name: String,
    pub table_name: String,
    pub rows: i64,
    pub offsets: serde_json::Value,
    pub snapshot_id: Option<i64>,
    pub dead_letters: i64,
    pub deleted: bool,
    pub last_commit_at: Option<OffsetDateTime>,
}

const SINK: &str = "select stream_id, name, table_name, rows, offsets, snapshot_id, dead_letters, last_commit_at, deleted_at from sinks";

fn sink(row: &PgRow) -> Result<SinkRow, sqlx::Error> {
    Ok(SinkRow {
        stream: row.try_get("stream_id")?,
        name: row.try_get("name")?,
        table_name: row.try_get("table_name")?,
        rows: row.try_get("rows")?,
        offsets: row.try_get::<Json<serde_json::Value>, _>("offsets")?.0,
        snapshot_id: row.try_get("snapshot_id")?,
        dead_letters: row.try_get("dead_letters")?,
        deleted: row.try_get::<Option<OffsetDateTime>, _>("deleted_at")?.is_some(),
        last_commit_at: row.try_get("last_commit_at")?,
    })
}

/// Ids of the topics read so far, oldest first. Whoever asks at the same time waits.
pub async fn topics(tx: &mut Tx) -> Result<Vec<String>, DatabaseError> {
    sqlx::query("lock table topics in share row exclusive mode").execute(&mut **tx).await?;
    Ok(sqlx::query_scalar("select id from topics order by place").fetch_all(&mut **tx).await?)
}

pub async fn put_topic(tx: &mut Tx, id: &str) -> Result<(), DatabaseError> {
    sqlx::query("insert into topics (id) values ($1) on conflict do nothing").bind(id).execute(&mut **tx).await?;
    Ok(())
}

/// Whether the stream's last commit was on a topic that this cell has never read: its tenant came here with it.
pub async fn has_come_with(
    tx: &mut Tx,
    tenant: &TenantId,
    stream: Uuid,
    topic_id: &str,
) -> Result<bool, DatabaseError> {
    let found = sqlx::query_scalar(
        "select exists (select from sinks where tenant_id = $1 and stream_id = $2 and offsets ->> 'topic-id' = $3)
            and not exists (select from topics where id = $3)",
    );
    Ok(found.bind(tenant.as_str()).bind(stream).bind(topic_id).fetch_one(&mut **tx).await?)
}

/// Notes that a stream has a table.
pub async fn put_sink(tx: &mut Tx, scope: &Scope, stream: Uuid, name: &str, table: &str) -> Result<(), DatabaseError> {
    sqlx::query(
        "insert into sinks (stream_id, tenant_id, name, table_name) values ($1, $2, $3, $4)
         on conflict (stream_id) do update set table_name = excluded.table_name",
    )
    .bind(stream)
    .bind(scope.tenant.as_str())
    .bind(name)
    .bind(table)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub async fn set_deleted(tx: &mut Tx, scope: &Scope, stream: Uuid) -> Result<(), DatabaseError> {
    sqlx::query("update sinks set deleted_at = now() where tenant_id = $1 and stream_id = $2 and deleted_at is null")
        .bind(scope.tenant.as_str())
        .bind(stream)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// What a commit made of a table.
pub struct Progressed<'a> {
    pub stream: Uuid,
    pub rows: i64,
    pub offsets: &'a serde_json::Value,
    pub snapshot_id: i64,
}

/// What a recorded commit means for others.
pub struct Recorded {
    /// Rows in the table before, as we knew them.
    pub rows_before: i64,
    pub lineage_due: bool,
}

/// Records a commit once; `None` if it was recorded before.
pub async fn record_commit(
    tx: &mut Tx,
    scope: &Scope,
    commit: &Progressed<'_>,
    lineage_pause_seconds: u32,
) -> Result<Option<Recorded>, DatabaseError> {
    let before = sqlx::query(
        "select rows, lineage_at is null or lineage_at < now() - make_interval(secs => $4) as due from sinks
         where tenant_id = $1 and stream_id = $2 and snapshot_id is distinct from $3 for update",
    )
    .bind(scope.tenant.as_str())
    .bind(commit.stream)
    .bind(commit.snapshot_id)
    .bind(f64::from(lineage_pause_seconds))
    .fetch_optional(&mut **tx)
    .await?;
    let Some(before) = before else { return Ok(None) };
    let recorded = Recorded { rows_before: before.try_get("rows")?, lineage_due: before.try_get("due")? };
    sqlx::query(
        "update sinks set rows = $3, offsets = $4, snapshot_id = $5, last_commit_at = now(),
                lineage_at = case when $6 then now() else lineage_at end
         where tenant_id = $1 and stream_id = $2",
    )
    .bind(scope.tenant.as_str())
    .bind(commit.stream)
    .bind(commit.rows)
    .bind(Json(commit.offsets))
    .bind(commit.snapshot_id)
    .bind(recorded.lineage_due)
    .execute(&mut **tx)
    .await?;
    Ok(Some(recorded))
}

pub async fn count_dead_letters(tx: &mut Tx, scope: &Scope, stream: Uuid, count: i64) -> Result<(), DatabaseError> {
    sqlx::query("update sinks set dead_letters = dead_letters + $3 where tenant_id = $1 and stream_id = $2")
        .bind(scope.tenant.as_str())
        .bind(stream)
        .bind(count)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// By stream id or by name; of several with one name, the newest stream's.
pub async fn find_sink(tx: &mut Tx, scope: &Scope, reference: &str) -> Result<Option<SinkRow>, DatabaseError> {
    let id = Uuid::parse_str(reference).ok();
    let row = sqlx::query(sqlx::AssertSqlSafe(format!(
        "{SINK} where tenant_id = $1 and (stream_id = $2 or ($2 is null and name = $3)) order by stream_id desc limit 1"
    )))
    .bind(scope.tenant.as_str())
    .bind(id)
    .bind(reference)
    .fetch_optional(&mut **tx)
    .await?;
    Ok(row.as_ref().map(sink).transpose()?)
}

/// Up to `limit` sinks by name and stream, after the ones given.
pub async fn list_sinks(
    tx: &mut Tx,
    scope: &Scope,
    after: Option<(String, Uuid)>,
    limit: i64,
) -> Result<Vec<SinkRow>, DatabaseError> {
    let (name, stream) = after.unzip();
    let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
        "{SINK} where tenant_id = $1 and ($2::text is null or (name, stream_id) > ($2, $3)) order by name, stream_id limit $4"
    )))
    .bind(scope.tenant.as_str())
    .bind(name)
    .bind(stream)
    .bind(limit)
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows.iter().map(sink).collect::<Result<_, _>>()?)
}
