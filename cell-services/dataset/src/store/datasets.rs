//! Datasets.

use kit::Scope;
use kit::database::{DatabaseError, Tx};
use sqlx::Row;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{signed, unsigned};
use crate::domain::column::ColumnView;
use crate::error::Error;

#[derive(Debug, Clone)]
pub struct Dataset {
    pub id: Uuid,
    pub name: String,
    pub description: String,
    pub created_by: String,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
    pub version: u64,
    pub rows: u64,
    pub snapshot_id: Option<i64>,
    pub columns: Vec<ColumnView>,
}

fn read(row: &PgRow) -> Result<Dataset, sqlx::Error> {
    let columns: Json<Vec<ColumnView>> = row.try_get("columns")?;
    Ok(Dataset {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        description: row.try_get("description")?,
        created_by: row.try_get("created_by")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
        version: unsigned(row.try_get("version")?),
        rows: unsigned(row.try_get("rows")?),
        snapshot_id: row.try_get("snapshot_id")?,
        columns: columns.0,
    })
}

/// Inserts a dataset; a taken name is [`Error::NameTaken`].
pub async fn insert(tx: &mut Tx, scope: &Scope, id: Uuid, name: &str, description: &str) -> Result<Dataset, Error> {
    let inserted = sqlx::query(
        "insert into dataset (id, tenant_id, name, description, created_by) values ($1, $2, $3, $4, $5) returning *",
    )
    .bind(id)
    .bind(scope.tenant.as_str())
    .bind(name)
    .bind(description)
    .bind(scope.actor.to_string())
    .fetch_one(&mut **tx)
    .await;
    match inserted {
        Ok(row) => Ok(read(&row)?),
        Err(error) => {
            let error = DatabaseError::from(error);
            Err(if error.is_unique_violation() { Error::NameTaken } else { error.into() })
        }
    }
}

/// By id or by name.
pub async fn find(tx: &mut Tx, scope: &Scope, reference: &str) -> Result<Option<Dataset>, Error> {
    let row = match Uuid::parse_str(reference) {
        Ok(id) => {
            sqlx::query("select * from dataset where tenant_id = $1 and id = $2")
                .bind(scope.tenant.as_str())
                .bind(id)
                .fetch_optional(&mut **tx)
                .await?
        }
        Err(_) => {
            sqlx::query("select * from dataset where tenant_id = $1 and name = $2")
                .bind(scope.tenant.as_str())
                .bind(reference)
                .fetch_optional(&mut **tx)
                .await?
        }
    };
    Ok(row.as_ref().map(read).transpose()?)
}

/// Locks the dataset's row until the end of the transaction.
pub async fn lock(tx: &mut Tx, scope: &Scope, id: Uuid) -> Result<Dataset, Error> {
    let row = sqlx::query("select * from dataset where tenant_id = $1 and id = $2 for update")
        .bind(scope.tenant.as_str())
        .bind(id)
        .fetch_optional(&mut **tx)
        .await?;
    Ok(read(&row.ok_or(Error::NoDataset)?)?)
}

/// Up to `limit` datasets in the order of their names.
pub async fn list(
    tx: &mut Tx,
    scope: &Scope,
    name: Option<&str>,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<Dataset>, Error> {
    let rows = sqlx::query(
        "select * from dataset where tenant_id = $1 and ($2::text is null or name = $2) and ($3::text is null or name > $3)
         order by name limit $4",
    )
    .bind(scope.tenant.as_str())
    .bind(name)
    .bind(after)
    .bind(signed(limit as u64))
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
}

/// The dataset after a commit.
pub async fn advance(tx: &mut Tx, scope: &Scope, dataset: &Dataset) -> Result<(), Error> {
    sqlx::query(
        "update dataset set version = $3, rows = $4, snapshot_id = $5, columns = $6, updated_at = now()
         where tenant_id = $1 and id = $2",
    )
    .bind(scope.tenant.as_str())
    .bind(dataset.id)
    .bind(signed(dataset.version))
    .bind(signed(dataset.rows))
    .bind(dataset.snapshot_id)
    .bind(Json(&dataset.columns))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub async fn delete(tx: &mut Tx, scope: &Scope, id: Uuid) -> Result<(), Error> {
    sqlx::query("delete from dataset where tenant_id = $1 and id = $2")
        .bind(scope.tenant.as_str())
        .bind(id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}
