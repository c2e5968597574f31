//! Transactions and their files.

use contracts::TenantId;
use kit::Scope;
use kit::database::{DatabaseError, Tx};
use sqlx::Row;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{foreign, signed, unsigned};
use crate::domain::column::ColumnView;
use crate::domain::{Format, State, TransactionKind};
use crate::error::Error;

#[derive(Debug, Clone)]
pub struct Transaction {
    pub id: Uuid,
    pub dataset: Uuid,
    pub kind: TransactionKind,
    pub state: State,
    pub opened_by: String,
    pub opened_at: OffsetDateTime,
    pub closed_at: Option<OffsetDateTime>,
    pub busy_until: Option<OffsetDateTime>,
    pub reason: Option<String>,
    pub version: Option<u64>,
    pub rows: Option<u64>,
    pub total_rows: Option<u64>,
    pub bytes: Option<u64>,
    pub snapshot_id: Option<i64>,
    pub columns: Vec<ColumnView>,
}

#[derive(Debug, Clone)]
pub struct FileRow {
    pub path: String,
    /// Where it lies below the transaction's folder.
    pub object: String,
    pub bytes: u64,
    pub format: Option<Format>,
}

impl FileRow {
    /// A file that is about to be uploaded, into an object that no other upload has.
    pub fn new(path: &str, format: Option<Format>) -> Self {
        Self { path: path.to_owned(), object: format!("{}/{path}", Uuid::now_v7()), bytes: 0, format }
    }
}

/// What a commit leaves in the transaction's row.
#[derive(Debug, Clone)]
pub struct CommitResult {
    pub version: u64,
    pub rows: u64,
    pub total_rows: u64,
    pub bytes: u64,
    pub snapshot_id: i64,
    pub columns: Vec<ColumnView>,
}

fn read(row: &PgRow) -> Result<Transaction, Error> {
    let (kind, state): (String, String) = (row.try_get("kind")?, row.try_get("state")?);
    let columns: Json<Vec<ColumnView>> = row.try_get("columns")?;
    let count = |name: &str| row.try_get::<Option<i64>, _>(name).map(|n| n.map(unsigned));
    Ok(Transaction {
        id: row.try_get("id")?,
        dataset: row.try_get("dataset_id")?,
        kind: TransactionKind::parse(&kind).ok_or_else(|| foreign("a transaction of an unknown kind"))?,
        state: State::parse(&state).ok_or_else(|| foreign("a transaction in an unknown state"))?,
        opened_by: row.try_get("opened_by")?,
        opened_at: row.try_get("opened_at")?,
        closed_at: row.try_get("closed_at")?,
        busy_until: row.try_get("busy_until")?,
        reason: row.try_get("reason")?,
        version: count("version")?,
        rows: count("rows")?,
        total_rows: count("total_rows")?,
        bytes: count("bytes")?,
        snapshot_id: row.try_get("snapshot_id")?,
        columns: columns.0,
    })
}

/// Opens a transaction; a second open one is [`Error::TransactionOpen`].
pub async fn open(
    tx: &mut Tx,
    scope: &Scope,
    dataset: Uuid,
    id: Uuid,
    kind: TransactionKind,
    upload_key: Option<&str>,
) -> Result<Transaction, Error> {
    let inserted = sqlx::query(
        "insert into dataset_transaction (id, tenant_id, dataset_id, kind, state, opened_by, upload_key)
         values ($1, $2, $3, $4, 'OPEN', $5, $6) returning *",
    )
    .bind(id)
    .bind(scope.tenant.as_str())
    .bind(dataset)
    .bind(kind.name())
    .bind(scope.actor.to_string())
    .bind(upload_key)
    .fetch_one(&mut **tx)
    .await;
    match inserted {
        Ok(row) => read(&row),
        Err(error) => {
            let error = DatabaseError::from(error);
            Err(if error.is_unique_violation() { Error::TransactionOpen } else { error.into() })
        }
    }
}

pub async fn find(tx: &mut Tx, scope: &Scope, dataset: Uuid, id: Uuid) -> Result<Transaction, Error> {
    let row = sqlx::query("select * from dataset_transaction where tenant_id = $1 and dataset_id = $2 and id = $3")
        .bind(scope.tenant.as_str())
        .bind(dataset)
        .bind(id)
        .fetch_optional(&mut **tx)
        .await?;
    read(&row.ok_or(Error::NoTransaction)?)
}

/// The transaction that an upload with this key opened and that is not aborted, and the digest of the upload.
pub async fn by_upload_key(
    tx: &mut Tx,
    scope: &Scope,
    dataset: Uuid,
    key: &str,
) -> Result<Option<(Transaction, Option<Vec<u8>>)>, Error> {
    let row = sqlx::query(
        "select * from dataset_transaction
         where tenant_id = $1 and dataset_id = $2 and upload_key = $3 and state <> 'ABORTED'",
    )
    .bind(scope.tenant.as_str())
    .bind(dataset)
    .bind(key)
    .fetch_optional(&mut **tx)
    .await?;
    row.map(|row| Ok((read(&row)?, row.try_get("upload_digest")?))).transpose()
}

/// Notes what the upload sent, for whoever repeats it.
pub async fn sent(tx: &mut Tx, scope: &Scope, id: Uuid, digest: &[u8]) -> Result<(), Error> {
    sqlx::query(
        "update dataset_transaction set upload_digest = $3 where tenant_id = $1 and id = $2 and state = 'OPEN'",
    )
    .bind(scope.tenant.as_str())
    .bind(id)
    .bind(digest)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Locks the transaction's row until the end of the database transaction.
pub async fn lock(tx: &mut Tx, scope: &Scope, dataset: Uuid, id: Uuid) -> Result<Transaction, Error> {
    let row = sqlx::query(
        "select * from dataset_transaction where tenant_id = $1 and dataset_id = $2 and id = $3 for update",
    )
    .bind(scope.tenant.as_str())
    .bind(dataset)
    .bind(id)
    .fetch_optional(&mut **tx)
    .await?;
    read(&row.ok_or(Error::NoTransaction)?)
}

/// Newest first.
pub async fn list(
    tx: &mut Tx,
    scope: &Scope,
    dataset: Uuid,
    before: Option<Uuid>,
    limit: usize,
) -> Result<Vec<Transaction>, Error> {
    let rows = sqlx::query(
        "select * from dataset_transaction where tenant_id = $1 and dataset_id = $2 and ($3::uuid is null or id < $3)
         order by id desc limit $4",
    )
    .bind(scope.tenant.as_str())
    .bind(dataset)
    .bind(before)
    .bind(signed(limit as u64))
    .fetch_all(&mut **tx)
    .await?;
    rows.iter().map(read).collect()
}

/// Committed transactions, newest version first.
pub async fn versions(
    tx: &mut Tx,
    scope: &Scope,
    dataset: Uuid,
    before: Option<u64>,
    limit: usize,
) -> Result<Vec<Transaction>, Error> {
    let rows = sqlx::query(
        "select * from dataset_transaction
         where tenant_id = $1 and dataset_id = $2 and state = 'COMMITTED' and ($3::bigint is null or version < $3)
         order by version desc limit $4",
    )
    .bind(scope.tenant.as_str())
    .bind(dataset)
    .bind(before.map(signed))
    .bind(signed(limit as u64))
    .fetch_all(&mut **tx)
    .await?;
    rows.iter().map(read).collect()
}

pub async fn version(tx: &mut Tx, scope: &Scope, dataset: Uuid, version: u64) -> Result<Option<Transaction>, Error> {
    let row =
        sqlx::query("select * from dataset_transaction where tenant_id = $1 and dataset_id = $2 and version = $3")
            .bind(scope.tenant.as_str())
            .bind(dataset)
            .bind(signed(version))
            .fetch_optional(&mut **tx)
            .await?;
    row.as_ref().map(read).transpose()
}

/// Sets or renews the lease of a commit under way.
pub async fn lease(tx: &mut Tx, scope: &Scope, id: Uuid, until: Option<OffsetDateTime>) -> Result<(), Error> {
    sqlx::query("update dataset_transaction set busy_until = $3 where tenant_id = $1 and id = $2 and state = 'OPEN'")
        .bind(scope.tenant.as_str())
        .bind(id)
        .bind(until)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Sets or renews the lease of the call that will end the transaction.
pub async fn hold(tx: &mut Tx, scope: &Scope, id: Uuid, until: OffsetDateTime) -> Result<(), Error> {
    sqlx::query("update dataset_transaction set held_until = $3 where tenant_id = $1 and id = $2 and state = 'OPEN'")
        .bind(scope.tenant.as_str())
        .bind(id)
        .bind(until)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Whatever the row said: the rows are in the table, and the table is the truth.
pub async fn commit(tx: &mut Tx, scope: &Scope, id: Uuid, result: &CommitResult) -> Result<(), Error> {
    sqlx::query(
        "update dataset_transaction set state = 'COMMITTED', closed_at = now(), busy_until = null, version = $3, rows = $4,
         total_rows = $5, bytes = $6, snapshot_id = $7, columns = $8, reason = null where tenant_id = $1 and id = $2",
    )
    .bind(scope.tenant.as_str())
    .bind(id)
    .bind(signed(result.version))
    .bind(signed(result.rows))
    .bind(signed(result.total_rows))
    .bind(signed(result.bytes))
    .bind(result.snapshot_id)
    .bind(Json(&result.columns))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub async fn abort(tx: &mut Tx, scope: &Scope, id: Uuid, reason: &str) -> Result<(), Error> {
    sqlx::query(
        "update dataset_transaction set state = 'ABORTED', closed_at = now(), busy_until = null, reason = $3
         where tenant_id = $1 and id = $2 and state = 'OPEN'",
    )
    .bind(scope.tenant.as_str())
    .bind(id)
    .bind(reason)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Notes a file; the same path again replaces it.
pub async fn put_file(tx: &mut Tx, scope: &Scope, id: Uuid, file: &FileRow) -> Result<(), Error> {
    sqlx::query(
        "insert into dataset_file (tenant_id, transaction_id, path, object, bytes, format) values ($1, $2, $3, $4, $5, $6)
         on conflict (transaction_id, path) do update
         set object = excluded.object, bytes = excluded.bytes, format = excluded.format, added_at = now()",
    )
    .bind(scope.tenant.as_str())
    .bind(id)
    .bind(&file.path)
    .bind(&file.object)
    .bind(signed(file.bytes))
    .bind(file.format.map(Format::extension))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// In the order of their paths, which is the order of their rows.
pub async fn files(tx: &mut Tx, scope: &Scope, id: Uuid) -> Result<Vec<FileRow>, Error> {
    let rows = sqlx::query(
        "select path, coalesce(object, path) as object, bytes, format from dataset_file
         where tenant_id = $1 and transaction_id = $2 order by path",
    )
    .bind(scope.tenant.as_str())
    .bind(id)
    .fetch_all(&mut **tx)
    .await?;
    rows.iter()
        .map(|row| {
            let format: Option<String> = row.try_get("format")?;
            Ok(FileRow {
                path: row.try_get("path")?,
                object: row.try_get("object")?,
                bytes: unsigned(row.try_get("bytes")?),
                format: format.as_deref().and_then(Format::parse),
            })
        })
        .collect()
}

/// A transaction that a job has to look at.
#[derive(Debug, Clone)]
pub struct Chore {
    pub tenant: TenantId,
    pub dataset: Uuid,
    pub dataset_name: String,
    pub id: Uuid,
}

/// Ended transactions whose files may still lie in the bucket, over all tenants.
pub async fn unswept(tx: &mut Tx, limit: usize) -> Result<Vec<Chore>, Error> {
    chores(
        tx,
        "select t.tenant_id, t.dataset_id, d.name, t.id from dataset_transaction t join dataset d on d.id = t.dataset_id
         where not t.swept and t.state <> 'OPEN' order by t.closed_at limit $1",
        limit,
    )
    .await
}

/// Commits whose process died in the middle, over all tenants.
pub async fn stranded(tx: &mut Tx, limit: usize) -> Result<Vec<Chore>, Error> {
    chores(
        tx,
        "select t.tenant_id, t.dataset_id, d.name, t.id from dataset_transaction t join dataset d on d.id = t.dataset_id
         where t.state = 'OPEN' and t.busy_until < now() order by t.busy_until limit $1",
        limit,
    )
    .await
}

/// Open transactions whose call died before it ended them, over all tenants. One with a commit under way is
/// [`stranded`] first.
pub async fn orphaned(tx: &mut Tx, limit: usize) -> Result<Vec<Chore>, Error> {
    chores(
        tx,
        "select t.tenant_id, t.dataset_id, d.name, t.id from dataset_transaction t join dataset d on d.id = t.dataset_id
         where t.state = 'OPEN' and t.busy_until is null and t.held_until < now() order by t.held_until limit $1",
        limit,
    )
    .await
}

/// Open transactions nobody has touched for `hours`, over all tenants.
pub async fn forgotten(tx: &mut Tx, hours: u32, limit: usize) -> Result<Vec<Chore>, Error> {
    let rows = sqlx::query(
        "select t.tenant_id, t.dataset_id, d.name, t.id from dataset_transaction t join dataset d on d.id = t.dataset_id
         where t.state = 'OPEN' and t.busy_until is null and t.opened_at < now() - make_interval(hours => $2)
         order by t.opened_at limit $1",
    )
    .bind(signed(limit as u64))
    .bind(i32::try_from(hours).unwrap_or(i32::MAX))
    .fetch_all(&mut **tx)
    .await?;
    rows.iter().map(chore).collect()
}

async fn chores(tx: &mut Tx, statement: &'static str, limit: usize) -> Result<Vec<Chore>, Error> {
    let rows = sqlx::query(statement).bind(signed(limit as u64)).fetch_all(&mut **tx).await?;
    rows.iter().map(chore).collect()
}

fn chore(row: &PgRow) -> Result<Chore, Error> {
    let tenant: String = row.try_get("tenant_id")?;
    Ok(Chore {
        tenant: TenantId::new(tenant).map_err(Error::stored)?,
        dataset: row.try_get("dataset_id")?,
        dataset_name: row.try_get("name")?,
        id: row.try_get("id")?,
    })
}

pub async fn swept(tx: &mut Tx, scope: &Scope, id: Uuid) -> Result<(), Error> {
    sqlx::query("update dataset_transaction set swept = true where tenant_id = $1 and id = $2")
        .bind(scope.tenant.as_str())
        .bind(id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}
