//! The only SQL.

use std::collections::HashMap;

use contracts::TenantId;
use kit::Scope;
use kit::database::{DatabaseError, Tx};
use lakehouse::{Namespace, TableName};
use sqlx::Row;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use uuid::Uuid;

use crate::error::{Error, Result};

pub type Properties = HashMap<String, String>;

/// A namespace's row.
#[derive(Debug, Clone)]
pub struct NamespaceRow {
    pub id: Uuid,
    pub properties: Properties,
}

/// A table's row: the pointer to its current metadata.
#[derive(Debug, Clone)]
pub struct TableRow {
    pub id: Uuid,
    pub location: String,
    pub metadata_location: String,
    pub metadata_version: i64,
}

/// What an Idempotency-Key was used for.
#[derive(Debug, Clone)]
pub struct Answered {
    pub fingerprint: Vec<u8>,
    pub metadata_location: Option<String>,
}

/// SQLSTATE of a foreign key that still has rows, or no row to point at.
fn is_reference_violation(error: &DatabaseError) -> bool {
    error.sql_state().as_deref() == Some("23503")
}

pub async fn insert_namespace(
    tx: &mut Tx,
    scope: &Scope,
    namespace: &Namespace,
    parent: Option<Uuid>,
    properties: &Properties,
) -> Result<()> {
    let done =
        sqlx::query("insert into namespaces (id, tenant_id, name, parent_id, properties) values ($1, $2, $3, $4, $5)")
            .bind(Uuid::now_v7())
            .bind(scope.tenant.as_str())
            .bind(namespace.to_string())
            .bind(parent)
            .bind(Json(properties))
            .execute(&mut **tx)
            .await
            .map_err(DatabaseError::from);
    match done {
        Ok(_) => Ok(()),
        Err(error) if error.is_unique_violation() => Err(Error::NamespaceExists),
        Err(error) if is_reference_violation(&error) => Err(Error::NoSuchNamespace),
        Err(error) => Err(error.into()),
    }
}

pub async fn namespace(tx: &mut Tx, scope: &Scope, namespace: &Namespace) -> Result<Option<NamespaceRow>> {
    let row = sqlx::query("select id, properties from namespaces where tenant_id = $1 and name = $2")
        .bind(scope.tenant.as_str())
        .bind(namespace.to_string())
        .fetch_optional(&mut **tx)
        .await?;
    row.map(|row| namespace_of(&row)).transpose()
}

/// The same, locked against every other writer of the row.
pub async fn namespace_for_update(tx: &mut Tx, scope: &Scope, namespace: &Namespace) -> Result<Option<NamespaceRow>> {
    let row = sqlx::query("select id, properties from namespaces where tenant_id = $1 and name = $2 for update")
        .bind(scope.tenant.as_str())
        .bind(namespace.to_string())
        .fetch_optional(&mut **tx)
        .await?;
    row.map(|row| namespace_of(&row)).transpose()
}

fn namespace_of(row: &PgRow) -> Result<NamespaceRow> {
    let properties: Json<Properties> = row.try_get("properties")?;
    Ok(NamespaceRow { id: row.try_get("id")?, properties: properties.0 })
}

/// Names below `parent` (or at the top) in order, after `after`, at most `limit`.
pub async fn namespaces(
    tx: &mut Tx,
    scope: &Scope,
    parent: Option<Uuid>,
    after: &str,
    limit: Option<i64>,
) -> Result<Vec<String>> {
    let names = sqlx::query_scalar(
        "select name from namespaces where tenant_id = $1 and parent_id is not distinct from $2
         and name collate \"C\" > $3 order by name collate \"C\" limit $4",
    )
    .bind(scope.tenant.as_str())
    .bind(parent)
    .bind(after)
    .bind(limit)
    .fetch_all(&mut **tx)
    .await?;
    Ok(names)
}

pub async fn set_properties(tx: &mut Tx, scope: &Scope, id: Uuid, properties: &Properties) -> Result<()> {
    sqlx::query("update namespaces set properties = $3 where tenant_id = $1 and id = $2")
        .bind(scope.tenant.as_str())
        .bind(id)
        .bind(Json(properties))
        .execute(&mut **tx)
        .await?;
    Ok(())
}

pub async fn delete_namespace(tx: &mut Tx, scope: &Scope, namespace: &Namespace) -> Result<()> {
    let done = sqlx::query("delete from namespaces where tenant_id = $1 and name = $2")
        .bind(scope.tenant.as_str())
        .bind(namespace.to_string())
        .execute(&mut **tx)
        .await
        .map_err(DatabaseError::from);
    match done {
        Ok(done) if done.rows_affected() == 0 => Err(Error::NoSuchNamespace),
        Ok(_) => Ok(()),
        Err(error) if is_reference_violation(&error) => Err(Error::NamespaceNotEmpty),
        Err(error) => Err(error.into()),
    }
}

pub async fn count_namespaces(tx: &mut Tx, scope: &Scope) -> Result<i64> {
    Ok(sqlx::query_scalar("select count(*) from namespaces where tenant_id = $1")
        .bind(scope.tenant.as_str())
        .fetch_one(&mut **tx)
        .await?)
}

pub async fn count_tables(tx: &mut Tx, scope: &Scope) -> Result<i64> {
    Ok(sqlx::query_scalar("select count(*) from tables where tenant_id = $1")
        .bind(scope.tenant.as_str())
        .fetch_one(&mut **tx)
        .await?)
}

pub async fn table(tx: &mut Tx, scope: &Scope, name: &TableName) -> Result<Option<TableRow>> {
    let row = sqlx::query(
        "select t.id, t.location, t.metadata_location, t.metadata_version from tables t join namespaces n on n.id = t.namespace_id
         where t.tenant_id = $1 and n.tenant_id = $1 and n.name = $2 and t.name = $3",
    )
    .bind(scope.tenant.as_str())
    .bind(name.namespace().to_string())
    .bind(name.name())
    .fetch_optional(&mut **tx)
    .await?;
    row.as_ref().map(table_row).transpose()
}

fn table_row(row: &PgRow) -> Result<TableRow> {
    Ok(TableRow {
        id: row.try_get("id")?,
        location: row.try_get("location")?,
        metadata_location: row.try_get("metadata_location")?,
        metadata_version: row.try_get("metadata_version")?,
    })
}

/// Every table of the tenant.
pub async fn all_tables(tx: &mut Tx, scope: &Scope) -> Result<Vec<TableRow>> {
    let rows = sqlx::query("select id, location, metadata_location, metadata_version from tables where tenant_id = $1")
        .bind(scope.tenant.as_str())
        .fetch_all(&mut **tx)
        .await?;
    rows.iter().map(table_row).collect()
}

/// Tenants that have a table.
pub async fn tenants(tx: &mut Tx) -> Result<Vec<TenantId>> {
    let names: Vec<String> =
        sqlx::query_scalar("select distinct tenant_id from tables order by tenant_id").fetch_all(&mut **tx).await?;
    names.into_iter().map(|name| TenantId::new(name).map_err(|_| Error::Damaged("a table of nobody"))).collect()
}

/// Names in a namespace in order, after `after`, at most `limit`.
pub async fn tables(
    tx: &mut Tx,
    scope: &Scope,
    namespace: Uuid,
    after: &str,
    limit: Option<i64>,
) -> Result<Vec<String>> {
    let names = sqlx::query_scalar(
        "select name from tables where tenant_id = $1 and namespace_id = $2 and name collate \"C\" > $3 order by name collate \"C\" limit $4",
    )
    .bind(scope.tenant.as_str())
    .bind(namespace)
    .bind(after)
    .bind(limit)
    .fetch_all(&mut **tx)
    .await?;
    Ok(names)
}

pub async fn insert_table(tx: &mut Tx, scope: &Scope, namespace: Uuid, name: &str, row: &TableRow) -> Result<()> {
    let done = sqlx::query(
        "insert into tables (id, tenant_id, namespace_id, name, location, metadata_location, metadata_version) values ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(row.id)
    .bind(scope.tenant.as_str())
    .bind(namespace)
    .bind(name)
    .bind(&row.location)
    .bind(&row.metadata_location)
    .bind(row.metadata_version)
    .execute(&mut **tx)
    .await
    .map_err(DatabaseError::from);
    match done {
        Ok(_) => Ok(()),
        Err(error) if error.is_unique_violation() => Err(Error::TableExists),
        Err(error) if is_reference_violation(&error) => Err(Error::NoSuchNamespace),
        Err(error) => Err(error.into()),
    }
}

/// Moves the pointer, if it still stands where the commit was prepared. This is the commit.
pub async fn move_pointer(tx: &mut Tx, scope: &Scope, expected: &str, to: &TableRow) -> Result<bool> {
    let done = sqlx::query(
        "update tables set location = $4, metadata_location = $5, metadata_version = $6, updated_at = now()
         where tenant_id = $1 and id = $2 and metadata_location = $3",
    )
    .bind(scope.tenant.as_str())
    .bind(to.id)
    .bind(expected)
    .bind(&to.location)
    .bind(&to.metadata_location)
    .bind(to.metadata_version)
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub async fn rename_table(tx: &mut Tx, scope: &Scope, id: Uuid, namespace: Uuid, name: &str) -> Result<()> {
    let done = sqlx::query(
        "update tables set namespace_id = $3, name = $4, updated_at = now() where tenant_id = $1 and id = $2",
    )
    .bind(scope.tenant.as_str())
    .bind(id)
    .bind(namespace)
    .bind(name)
    .execute(&mut **tx)
    .await
    .map_err(DatabaseError::from);
    match done {
        Ok(done) if done.rows_affected() == 0 => Err(Error::NoSuchTable),
        Ok(_) => Ok(()),
        Err(error) if error.is_unique_violation() => Err(Error::TableExists),
        Err(error) => Err(error.into()),
    }
}

/// Deletes the row; false when somebody else did.
pub async fn delete_table(tx: &mut Tx, scope: &Scope, id: Uuid) -> Result<bool> {
    let done = sqlx::query("delete from tables where tenant_id = $1 and id = $2")
        .bind(scope.tenant.as_str())
        .bind(id)
        .execute(&mut **tx)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Whether another table's files lie at, above or below a location.
pub async fn location_is_shared(tx: &mut Tx, scope: &Scope, location: &str) -> Result<bool> {
    let shared = sqlx::query_scalar(
        "select exists (select 1 from tables where tenant_id = $1
         and (starts_with(location || '/', $2 || '/') or starts_with($2 || '/', location || '/')))",
    )
    .bind(scope.tenant.as_str())
    .bind(location)
    .fetch_one(&mut **tx)
    .await?;
    Ok(shared)
}

pub async fn answered(tx: &mut Tx, scope: &Scope, key: &str) -> Result<Option<Answered>> {
    let row = sqlx::query("select fingerprint, metadata_location from idempotency where tenant_id = $1 and key = $2")
        .bind(scope.tenant.as_str())
        .bind(key)
        .fetch_optional(&mut **tx)
        .await?;
    row.map(|row| {
        Ok(Answered { fingerprint: row.try_get("fingerprint")?, metadata_location: row.try_get("metadata_location")? })
    })
    .transpose()
}

/// Claims the key; false when another request has it. Waits for one that is under way.
pub async fn claim(tx: &mut Tx, scope: &Scope, key: &str, answer: &Answered) -> Result<bool> {
    let done = sqlx::query("insert into idempotency (tenant_id, key, fingerprint, metadata_location) values ($1, $2, $3, $4) on conflict do nothing")
        .bind(scope.tenant.as_str())
        .bind(key)
        .bind(&answer.fingerprint)
        .bind(&answer.metadata_location)
        .execute(&mut **tx)
        .await?;
    Ok(done.rows_affected() == 1)
}
