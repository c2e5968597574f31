//! The only SQL of this service.

use contracts::TenantId;
use kit::Scope;
use kit::database::{DatabaseError, Tx};
use sqlx::Row;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::Field;

/// A stream with its current schema.
#[derive(Debug, Clone)]
pub struct StreamRow {
    pub id: Uuid,
    pub name: String,
    pub revision: i64,
    pub schema_version: i32,
    pub fields: Vec<Field>,
    pub accepted_rows: i64,
    pub committed_rows: i64,
    pub table_name: Option<String>,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
    pub deleted: bool,
}

#[derive(Debug, Clone)]
pub struct SchemaRow {
    pub version: i32,
    pub fields: Vec<Field>,
    pub created_at: OffsetDateTime,
}

const STREAM: &str = "select s.stream_id, s.name, s.revision, s.schema_version, v.fields, s.accepted_rows,
        s.committed_rows, s.table_name, s.created_at, s.updated_at, s.deleted_at
   from streams s join stream_schemas v on v.stream_id = s.stream_id and v.version = s.schema_version";

fn stream(row: &PgRow) -> Result<StreamRow, sqlx::Error> {
    Ok(StreamRow {
        id: row.try_get("stream_id")?,
        name: row.try_get("name")?,
        revision: row.try_get("revision")?,
        schema_version: row.try_get("schema_version")?,
        fields: row.try_get::<Json<Vec<Field>>, _>("fields")?.0,
        accepted_rows: row.try_get("accepted_rows")?,
        committed_rows: row.try_get("committed_rows")?,
        table_name: row.try_get("table_name")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
        deleted: row.try_get::<Option<OffsetDateTime>, _>("deleted_at")?.is_some(),
    })
}

pub async fn insert_stream(
    tx: &mut Tx,
    scope: &Scope,
    id: Uuid,
    name: &str,
    fields: &[Field],
) -> Result<(), DatabaseError> {
    sqlx::query("insert into streams (stream_id, tenant_id, name, revision, schema_version) values ($1, $2, $3, 1, 1)")
        .bind(id)
        .bind(scope.tenant.as_str())
        .bind(name)
        .execute(&mut **tx)
        .await?;
    insert_schema(tx, scope, id, 1, fields).await
}

pub async fn insert_schema(
    tx: &mut Tx,
    scope: &Scope,
    id: Uuid,
    version: i32,
    fields: &[Field],
) -> Result<(), DatabaseError> {
    sqlx::query("insert into stream_schemas (stream_id, version, tenant_id, fields) values ($1, $2, $3, $4)")
        .bind(id)
        .bind(version)
        .bind(scope.tenant.as_str())
        .bind(Json(fields))
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// By id or by name; deleted streams only by id and only if asked for.
pub async fn find_stream(
    tx: &mut Tx,
    scope: &Scope,
    reference: &str,
    deleted_too: bool,
) -> Result<Option<StreamRow>, DatabaseError> {
    let row = match Uuid::parse_str(reference) {
        Ok(id) => {
            sqlx::query(sqlx::AssertSqlSafe(format!(
                "{STREAM} where s.tenant_id = $1 and s.stream_id = $2 and (s.deleted_at is null or $3)"
            )))
            .bind(scope.tenant.as_str())
            .bind(id)
            .bind(deleted_too)
            .fetch_optional(&mut **tx)
            .await?
        }
        Err(_) => {
            sqlx::query(sqlx::AssertSqlSafe(format!(
                "{STREAM} where s.tenant_id = $1 and s.name = $2 and s.deleted_at is null"
            )))
            .bind(scope.tenant.as_str())
            .bind(reference)
            .fetch_optional(&mut **tx)
            .await?
        }
    };
    Ok(row.as_ref().map(stream).transpose()?)
}

/// Takes the row's lock until the end of the transaction.
pub async fn lock_stream(tx: &mut Tx, scope: &Scope, id: Uuid) -> Result<(), DatabaseError> {
    sqlx::query("select 1 from streams where tenant_id = $1 and stream_id = $2 for update")
        .bind(scope.tenant.as_str())
        .bind(id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Up to `limit` streams in name order, after the name given.
pub async fn list_streams(
    tx: &mut Tx,
    scope: &Scope,
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<StreamRow>, DatabaseError> {
    let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
        "{STREAM} where s.tenant_id = $1 and s.deleted_at is null and ($2::text is null or s.name > $2) order by s.name limit $3"
    )))
    .bind(scope.tenant.as_str())
    .bind(after)
    .bind(limit)
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows.iter().map(stream).collect::<Result<_, _>>()?)
}

pub async fn schemas(tx: &mut Tx, scope: &Scope, id: Uuid) -> Result<Vec<SchemaRow>, DatabaseError> {
    let rows = sqlx::query("select version, fields, created_at from stream_schemas where tenant_id = $1 and stream_id = $2 order by version")
        .bind(scope.tenant.as_str())
        .bind(id)
        .fetch_all(&mut **tx)
        .await?;
    let read = |row: &PgRow| {
        let fields = row.try_get::<Json<Vec<Field>>, _>("fields")?.0;
        Ok::<_, sqlx::Error>(SchemaRow {
            version: row.try_get("version")?,
            fields,
            created_at: row.try_get("created_at")?,
        })
    };
    Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
}

pub async fn set_schema_version(tx: &mut Tx, scope: &Scope, id: Uuid, version: i32) -> Result<(), DatabaseError> {
    sqlx::query(
        "update streams set schema_version = $3, revision = revision + 1, updated_at = now()
         where tenant_id = $1 and stream_id = $2",
    )
    .bind(scope.tenant.as_str())
    .bind(id)
    .bind(version)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub async fn delete_stream(tx: &mut Tx, scope: &Scope, id: Uuid) -> Result<(), DatabaseError> {
    sqlx::query(
        "update streams set deleted_at = now(), updated_at = now(), revision = revision + 1
         where tenant_id = $1 and stream_id = $2",
    )
    .bind(scope.tenant.as_str())
    .bind(id)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Adds to the stream's count. `true` if its lineage was last told longer ago than the pause.
pub async fn count_accepted(
    tx: &mut Tx,
    scope: &Scope,
    id: Uuid,
    rows: i64,
    lineage_pause_seconds: u32,
) -> Result<bool, DatabaseError> {
    let row = sqlx::query(
        "update streams set accepted_rows = accepted_rows + $3,
                lineage_at = case when lineage_at is null or lineage_at < now() - make_interval(secs => $4) then now() else lineage_at end
         where tenant_id = $1 and stream_id = $2 returning lineage_at = now() as due",
    )
    .bind(scope.tenant.as_str())
    .bind(id)
    .bind(rows)
    .bind(f64::from(lineage_pause_seconds))
    .fetch_optional(&mut **tx)
    .await?;
    Ok(row.map(|r| r.try_get("due")).transpose()?.unwrap_or(false))
}

/// What the sink reports; an older report never undoes a newer one.
pub async fn set_committed(
    tx: &mut Tx,
    tenant: &TenantId,
    id: Uuid,
    table: &str,
    rows: i64,
) -> Result<(), DatabaseError> {
    sqlx::query(
        "update streams set table_name = $3, committed_rows = greatest(committed_rows, $4)
         where tenant_id = $1 and stream_id = $2",
    )
    .bind(tenant.as_str())
    .bind(id)
    .bind(table)
    .bind(rows)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// What is known of a batch's key.
#[derive(Debug)]
pub enum Claim {
    /// Nobody has it, or who had it died: it is ours now.
    Ours,
    Open,
    Done(Done),
}

/// How a batch ended, and the digest of what it was sent with.
#[derive(Debug)]
pub struct Done {
    pub outcome: serde_json::Value,
    /// Absent for a batch from before digests were kept.
    pub digest: Option<Vec<u8>>,
}

/// Claims a key. A claim without an outcome is taken over after `stale_seconds`.
pub async fn claim_batch(
    tx: &mut Tx,
    scope: &Scope,
    stream: Uuid,
    key: &str,
    claim: Uuid,
    stale_seconds: u32,
) -> Result<Claim, DatabaseError> {
    let ours = sqlx::query(
        "insert into batches (stream_id, key, tenant_id, claim) values ($1, $2, $3, $4)
         on conflict (stream_id, key) do update set claim = excluded.claim, claimed_at = now()
         where batches.outcome is null and batches.claimed_at < now() - make_interval(secs => $5)",
    )
    .bind(stream)
    .bind(key)
    .bind(scope.tenant.as_str())
    .bind(claim)
    .bind(f64::from(stale_seconds))
    .execute(&mut **tx)
    .await?;
    if ours.rows_affected() == 1 {
        return Ok(Claim::Ours);
    }
    let done: Option<(Json<serde_json::Value>, Option<Vec<u8>>)> = sqlx::query_as(
        "select outcome, digest from batches
         where tenant_id = $1 and stream_id = $2 and key = $3 and outcome is not null",
    )
    .bind(scope.tenant.as_str())
    .bind(stream)
    .bind(key)
    .fetch_optional(&mut **tx)
    .await?;
    Ok(done.map_or(Claim::Open, |(Json(outcome), digest)| Claim::Done(Done { outcome, digest })))
}

/// Keeps a claimed batch from going stale while its body is still coming.
pub async fn refresh_claim(tx: &mut Tx, scope: &Scope, claim: Uuid) -> Result<(), DatabaseError> {
    sqlx::query("update batches set claimed_at = now() where tenant_id = $1 and claim = $2 and outcome is null")
        .bind(scope.tenant.as_str())
        .bind(claim)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

pub async fn finish_batch(tx: &mut Tx, scope: &Scope, claim: Uuid, done: &Done) -> Result<(), DatabaseError> {
    sqlx::query("update batches set outcome = $3, digest = $4 where tenant_id = $1 and claim = $2")
        .bind(scope.tenant.as_str())
        .bind(claim)
        .bind(Json(&done.outcome))
        .bind(&done.digest)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Gives a key free again after a batch that was not taken whole.
pub async fn release_batch(tx: &mut Tx, scope: &Scope, claim: Uuid) -> Result<(), DatabaseError> {
    sqlx::query("delete from batches where tenant_id = $1 and claim = $2 and outcome is null")
        .bind(scope.tenant.as_str())
        .bind(claim)
        .execute(&mut **tx)
        .await?;
    Ok(())
}
