//! The Iceberg table behind a dataset: its columns, and one snapshot per transaction.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema as ArrowSchema};
use iceberg::spec::{NestedField, Schema, SnapshotRef, TableMetadata, Type};
use iceberg::{TableRequirement, TableUpdate};
use kit::Scope;
use lakehouse::snapshot::{self, Commit, Extra};
use lakehouse::{LoadedTable, TableName, TenantBucket, schema};
use uuid::Uuid;

use super::App;
use crate::domain::TransactionKind;
use crate::error::Error;

/// Entry of a snapshot's summary that names the transaction: what makes a repeated commit harmless.
pub const TRANSACTION: &str = "cytoplane.dataset.transaction";
const ATTEMPTS: u32 = 5;

/// The snapshot a transaction has made already, if any.
pub fn committed_by(table: &TableMetadata, transaction: Uuid) -> Option<SnapshotRef> {
    let wanted = transaction.to_string();
    let of =
        |s: &&SnapshotRef| s.summary().additional_properties.get(TRANSACTION).is_some_and(|found| *found == wanted);
    table.snapshots().find(of).cloned()
}

/// Counted entries of a snapshot's summary.
pub fn counted(snapshot: &SnapshotRef, entry: &str) -> u64 {
    snapshot.summary().additional_properties.get(entry).and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// The table as the transaction's rows are written into it.
pub struct Target {
    /// With the new columns, if there are any; the catalog does not know them yet.
    pub table: LoadedTable,
    /// Made for this transaction: worthless if it fails.
    pub created: bool,
    evolution: Option<Schema>,
}

/// Finds the dataset's table, if a transaction has ever filled it.
pub async fn existing(app: &App, scope: &Scope, name: &TableName) -> Result<Option<LoadedTable>, Error> {
    match app.catalog.load(scope, name).await {
        Ok(table) => Ok(Some(table)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Makes or adapts the table for rows of `wanted` columns.
pub async fn prepare(
    app: &App,
    scope: &Scope,
    name: &TableName,
    found: Option<LoadedTable>,
    kind: TransactionKind,
    wanted: &ArrowSchema,
) -> Result<Target, Error> {
    let fresh = schema::from_arrow(wanted)?;
    let table = match found {
        // A table without a snapshot is what a failed first transaction left behind.
        Some(table) if table.metadata.current_snapshot_id().is_none() => {
            app.catalog.drop_table(scope, name, true).await?;
            None
        }
        other => other,
    };
    let Some(table) = table else {
        let table = app.catalog.ensure_table(scope, name, &fresh, HashMap::new()).await?;
        return Ok(Target { table, created: true, evolution: None });
    };
    if kind == TransactionKind::Append || same_columns(table.metadata.current_schema(), &fresh)? {
        return Ok(Target { table, created: false, evolution: None });
    }
    let evolution = evolve(&table.metadata, &fresh)?;
    let table = with_schema(&table, &evolution)?;
    Ok(Target { table, created: false, evolution: Some(evolution) })
}

impl Target {
    /// Commits `files` as the transaction's snapshot, together with the new columns.
    pub async fn commit(
        &self,
        app: &App,
        scope: &Scope,
        bucket: &TenantBucket,
        transaction: Uuid,
        kind: TransactionKind,
        files: Vec<iceberg::spec::DataFile>,
    ) -> Result<(LoadedTable, SnapshotRef), Error> {
        let base = self.table.metadata.last_column_id();
        let committed =
            lakehouse::retry::retry_commit(&app.catalog, scope, bucket, &self.table.name, ATTEMPTS, |table| {
                let (bucket, files, evolution) = (bucket.clone(), files.clone(), self.evolution.clone());
                async move {
                    if committed_by(&table.metadata, transaction).is_some() {
                        return Ok(None);
                    }
                    build(&bucket, table, evolution, base, transaction, kind, files).await.map(Some)
                }
            })
            .await?;
        let snapshot = committed_by(&committed.table.metadata, transaction)
            .ok_or_else(|| Error::stored("the commit's snapshot is not in the table"))?;
        Ok((committed.table, snapshot))
    }

    /// Takes back a table that was made for a transaction that failed, as long as it is empty.
    pub async fn undo(&self, app: &App, scope: &Scope) {
        if !self.created {
            return;
        }
        if let Err(error) = self.drop_empty(app, scope).await {
            tracing::warn!(table = %self.table.name, error = %kit::fault::chain(&error), "an empty table stays behind");
        }
    }

    async fn drop_empty(&self, app: &App, scope: &Scope) -> lakehouse::Result<()> {
        let now = app.catalog.load(scope, &self.table.name).await?.metadata;
        match now.uuid() == self.table.metadata.uuid() && now.snapshots().len() == 0 {
            true => app.catalog.drop_table(scope, &self.table.name, true).await,
            false => Ok(()),
        }
    }
}

async fn build(
    bucket: &TenantBucket,
    table: LoadedTable,
    evolution: Option<Schema>,
    base: i32,
    transaction: Uuid,
    kind: TransactionKind,
    files: Vec<iceberg::spec::DataFile>,
) -> lakehouse::Result<Commit> {
    let (schema_id, last) = (table.metadata.current_schema_id(), table.metadata.last_column_id());
    let target = match &evolution {
        Some(columns) => with_schema(&table, columns)?,
        None => table,
    };
    // Somebody changed the columns meanwhile: the files were written for others.
    if target.metadata.last_column_id() != base {
        return Err(lakehouse::Error::Conflict);
    }
    let summary = HashMap::from([(TRANSACTION.to_owned(), transaction.to_string())]);
    let extra = Extra { summary, properties: HashMap::new() };
    let mut commit = match kind {
        TransactionKind::Append => snapshot::append(bucket, &target, files, extra).await?,
        TransactionKind::Snapshot => snapshot::overwrite_all(bucket, &target, files, extra).await?,
    };
    if let Some(schema) = evolution {
        commit.requirements.push(TableRequirement::CurrentSchemaIdMatch { current_schema_id: schema_id });
        commit.requirements.push(TableRequirement::LastAssignedFieldIdMatch { last_assigned_field_id: last });
        let columns = [TableUpdate::AddSchema { schema }, TableUpdate::SetCurrentSchema { schema_id: -1 }];
        commit.updates.splice(0..0, columns);
    }
    Ok(commit)
}

fn with_schema(table: &LoadedTable, columns: &Schema) -> lakehouse::Result<LoadedTable> {
    let metadata = TableMetadata::clone(&table.metadata);
    let built = metadata.into_builder(None).add_current_schema(columns.clone())?.build()?;
    Ok(LoadedTable { metadata: Arc::new(built.metadata), ..table.clone() })
}

fn same_columns(current: &Schema, wanted: &Schema) -> Result<bool, Error> {
    let (current, wanted) = (schema::to_arrow(current)?, schema::to_arrow(wanted)?);
    let bare = |schema: &ArrowSchema| schema.fields().iter().map(|f| bare_field(f)).collect::<Vec<_>>();
    Ok(bare(&current) == bare(&wanted))
}

/// Without metadata: field ids are numbers of the table, not part of the type.
fn bare_field(field: &Field) -> Field {
    let kind = match field.data_type() {
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(|f| bare_field(f)).collect()),
        DataType::List(item) => DataType::List(Arc::new(bare_field(item))),
        DataType::Map(entries, sorted) => DataType::Map(Arc::new(bare_field(entries)), *sorted),
        other => other.clone(),
    };
    Field::new(field.name(), kind, field.is_nullable())
}

/// The wanted columns with the table's ids: a column of the same name and type keeps its id,
/// any other is a new column, so that old snapshots keep reading as they were.
fn evolve(table: &TableMetadata, wanted: &Schema) -> Result<Schema, Error> {
    let current = table.current_schema();
    let mut next = table.last_column_id();
    let mut fields = Vec::new();
    for field in wanted.as_struct().fields() {
        if !matches!(field.field_type.as_ref(), Type::Primitive(_)) {
            let text = format!(
                "column '{}' is nested, and a dataset with nested columns cannot change its columns",
                field.name
            );
            return Err(Error::Schema(text));
        }
        let kept = current.field_by_name(&field.name).filter(|old| old.field_type == field.field_type);
        let id = match kept {
            Some(old) => old.id,
            None => {
                next += 1;
                next
            }
        };
        fields.push(Arc::new(NestedField::new(id, &field.name, field.field_type.as_ref().clone(), field.required)));
    }
    Schema::builder().with_fields(fields).build().map_err(|error| Error::Lakehouse(error.into()))
}
