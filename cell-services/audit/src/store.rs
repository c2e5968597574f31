//! The only SQL of this service: append and read, nothing else.

use contracts::TenantId;
use kit::Scope;
use kit::database::Tx;
use sqlx::Row;
use sqlx::postgres::PgRow;
use time::OffsetDateTime;

use crate::domain::{Entry, Filter, GENESIS, Hash, Link};
use crate::error::Error;

/// Locks the tenant's chain until the end of the transaction and returns its head.
pub async fn lock_head(tx: &mut Tx, tenant: &TenantId) -> Result<(u64, Hash), Error> {
    if let Some(head) = held_head(tx, tenant).await? {
        return Ok(head);
    }
    // Entries stay where their tenant was, and it may come back without its head.
    sqlx::query(
        "insert into audit_chain (tenant_id, seq, hash)
         select $1, coalesce(max(seq), 0),
                coalesce((select hash from audit_entry where tenant_id = $1 order by seq desc limit 1), $2)
         from audit_entry where tenant_id = $1
         on conflict do nothing",
    )
    .bind(tenant.as_str())
    .bind(GENESIS.as_slice())
    .execute(&mut **tx)
    .await?;
    held_head(tx, tenant).await?.ok_or_else(|| Error::Stored("a chain without a head".into()))
}

async fn held_head(tx: &mut Tx, tenant: &TenantId) -> Result<Option<(u64, Hash)>, Error> {
    let row = sqlx::query("select seq, hash from audit_chain where tenant_id = $1 for update")
        .bind(tenant.as_str())
        .fetch_optional(&mut **tx)
        .await?;
    row.as_ref().map(head_of).transpose()
}

fn head_of(row: &PgRow) -> Result<(u64, Hash), Error> {
    let seq: i64 = row.try_get("seq")?;
    Ok((u64::try_from(seq).map_err(|e| Error::Stored(e.into()))?, hash_of(row, "hash")?))
}

fn hash_of(row: &PgRow, column: &str) -> Result<Hash, Error> {
    let bytes: Vec<u8> = row.try_get(column)?;
    bytes.try_into().map_err(|_| Error::Stored("a hash of another length".into()))
}

pub async fn head(tx: &mut Tx, scope: &Scope) -> Result<Option<(u64, Hash)>, Error> {
    let row = sqlx::query("select seq, hash from audit_chain where tenant_id = $1")
        .bind(scope.tenant.as_str())
        .fetch_optional(&mut **tx)
        .await?;
    row.as_ref().map(head_of).transpose()
}

/// Adds a link and moves the head to it.
pub async fn append(tx: &mut Tx, tenant: &TenantId, link: &Link) -> Result<(), Error> {
    let entry = &link.entry;
    sqlx::query(
        "insert into audit_entry (tenant_id, seq, event_id, occurred_at, origin, request_id, actor, action, resource,
         outcome, status, detail, prev_hash, hash) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
    )
    .bind(tenant.as_str())
    .bind(signed(entry.seq))
    .bind(entry.event_id)
    .bind(entry.occurred_at)
    .bind(&entry.origin)
    .bind(&entry.request_id)
    .bind(&entry.actor)
    .bind(&entry.action)
    .bind(&entry.resource)
    .bind(&entry.outcome)
    .bind(i32::from(entry.status))
    .bind(entry.detail.as_ref().map(serde_json::Value::to_string))
    .bind(link.prev_hash.as_slice())
    .bind(link.hash.as_slice())
    .execute(&mut **tx)
    .await?;
    sqlx::query("update audit_chain set seq = $2, hash = $3 where tenant_id = $1")
        .bind(tenant.as_str())
        .bind(signed(entry.seq))
        .bind(link.hash.as_slice())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Newest first, before `before`.
pub async fn list(
    tx: &mut Tx,
    scope: &Scope,
    filter: &Filter,
    before: Option<u64>,
    limit: usize,
) -> Result<Vec<Link>, Error> {
    let rows = sqlx::query(
        "select * from audit_entry where tenant_id = $1
         and ($2::timestamptz is null or occurred_at >= $2) and ($3::timestamptz is null or occurred_at < $3)
         and ($4::text is null or actor = $4) and ($5::text is null or action = $5)
         and ($6::text is null or outcome = $6) and ($7::text is null or request_id = $7)
         and ($8::bigint is null or seq < $8)
         order by seq desc limit $9",
    )
    .bind(scope.tenant.as_str())
    .bind(filter.from)
    .bind(filter.to)
    .bind(&filter.actor)
    .bind(&filter.action)
    .bind(&filter.outcome)
    .bind(&filter.request_id)
    .bind(before.map(signed))
    .bind(signed(limit as u64))
    .fetch_all(&mut **tx)
    .await?;
    rows.iter().map(link).collect()
}

/// In the chain's order, from `after`.
pub async fn chain(tx: &mut Tx, scope: &Scope, after: u64, limit: usize) -> Result<Vec<Link>, Error> {
    let rows = sqlx::query("select * from audit_entry where tenant_id = $1 and seq > $2 order by seq limit $3")
        .bind(scope.tenant.as_str())
        .bind(signed(after))
        .bind(signed(limit as u64))
        .fetch_all(&mut **tx)
        .await?;
    rows.iter().map(link).collect()
}

fn link(row: &PgRow) -> Result<Link, Error> {
    let (seq, status): (i64, i32) = (row.try_get("seq")?, row.try_get("status")?);
    let detail: Option<String> = row.try_get("detail")?;
    let occurred_at: OffsetDateTime = row.try_get("occurred_at")?;
    Ok(Link {
        entry: Entry {
            seq: u64::try_from(seq).map_err(|e| Error::Stored(e.into()))?,
            event_id: row.try_get("event_id")?,
            occurred_at,
            origin: row.try_get("origin")?,
            request_id: row.try_get("request_id")?,
            actor: row.try_get("actor")?,
            action: row.try_get("action")?,
            resource: row.try_get("resource")?,
            outcome: row.try_get("outcome")?,
            status: u16::try_from(status).map_err(|e| Error::Stored(e.into()))?,
            detail: detail.map(|text| serde_json::from_str(&text)).transpose().map_err(|e| Error::Stored(e.into()))?,
        },
        prev_hash: hash_of(row, "prev_hash")?,
        hash: hash_of(row, "hash")?,
    })
}

/// Postgres has no unsigned integers; a chain does not come near the limit.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
