//! Catalogs, schemas, tables, keys, capabilities.

use std::sync::Arc;

use arrow_flight::sql::metadata::{SqlInfoData, XdbcTypeInfoData};
use arrow_flight::sql::{Command, CommandGetDbSchemas, CommandGetTableTypes, CommandGetTables};
use datafusion::arrow::array::{Array, AsArray};
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::arrow::record_batch::RecordBatch;
use futures::{StreamExt, TryStreamExt, stream};
use kit::Scope;

use super::schemas::{FOREIGN_KEYS, PRIMARY_KEYS};
use super::{capabilities, xdbc};
use crate::engine::advertised;
use crate::source::{TableName, TableSource};
use crate::{Error, Result};

/// The one type of table there is.
const TABLE: &str = "TABLE";
/// Table schemas read from the catalog at the same time.
const AT_ONCE: usize = 8;

/// What is the same for every tenant.
pub(super) struct Metadata {
    capabilities: SqlInfoData,
    types: XdbcTypeInfoData,
}

impl Metadata {
    pub fn new(statement_seconds: u64) -> Result<Self> {
        Ok(Self {
            capabilities: capabilities::all(statement_seconds).map_err(broken)?,
            types: xdbc::all().map_err(broken)?,
        })
    }

    /// Schema of a metadata command's rows; `None` for a command that is none.
    pub fn schema(&self, command: &Command) -> Option<SchemaRef> {
        Some(match command {
            Command::CommandGetCatalogs(command) => command.into_builder().schema(),
            Command::CommandGetDbSchemas(command) => command.clone().into_builder().schema(),
            Command::CommandGetTables(command) => command.clone().into_builder().schema(),
            Command::CommandGetTableTypes(command) => command.into_builder().schema(),
            Command::CommandGetSqlInfo(_) => self.capabilities.schema(),
            Command::CommandGetXdbcTypeInfo(_) => self.types.schema(),
            Command::CommandGetPrimaryKeys(_) => Arc::clone(&PRIMARY_KEYS),
            Command::CommandGetExportedKeys(_)
            | Command::CommandGetImportedKeys(_)
            | Command::CommandGetCrossReference(_) => Arc::clone(&FOREIGN_KEYS),
            _ => return None,
        })
    }

    /// Rows of a metadata command; `None` for a command that is none.
    pub async fn rows(&self, source: &dyn TableSource, scope: &Scope, command: Command) -> Result<Option<RecordBatch>> {
        let batch = match command {
            Command::CommandGetCatalogs(command) => {
                let mut builder = command.into_builder();
                builder.append(scope.tenant.as_str());
                builder.build().map_err(broken)?
            }
            Command::CommandGetDbSchemas(command) => schemas(source, scope, command).await?,
            Command::CommandGetTables(command) => tables(source, scope, command).await?,
            Command::CommandGetTableTypes(command) => table_types(command)?,
            Command::CommandGetSqlInfo(command) => self.capabilities.record_batch(command.info).map_err(broken)?,
            Command::CommandGetXdbcTypeInfo(command) => self.types.record_batch(command.data_type).map_err(broken)?,
            // Iceberg tables declare no keys that anybody enforces.
            Command::CommandGetPrimaryKeys(_) => RecordBatch::new_empty(Arc::clone(&PRIMARY_KEYS)),
            Command::CommandGetExportedKeys(_)
            | Command::CommandGetImportedKeys(_)
            | Command::CommandGetCrossReference(_) => RecordBatch::new_empty(Arc::clone(&FOREIGN_KEYS)),
            _ => return Ok(None),
        };
        Ok(Some(batch))
    }
}

fn broken(error: arrow_flight::error::FlightError) -> Error {
    Error::Engine(Box::new(error))
}

async fn schemas(source: &dyn TableSource, scope: &Scope, command: CommandGetDbSchemas) -> Result<RecordBatch> {
    let mut builder = command.into_builder();
    for namespace in source.namespaces(scope).await? {
        builder.append(scope.tenant.as_str(), namespace);
    }
    builder.build().map_err(broken)
}

fn table_types(command: CommandGetTableTypes) -> Result<RecordBatch> {
    let mut builder = command.into_builder();
    builder.append(TABLE);
    builder.build().map_err(broken)
}

/// Filters by name first: a table's schema costs a call to the catalog.
async fn tables(source: &dyn TableSource, scope: &Scope, command: CommandGetTables) -> Result<RecordBatch> {
    let wanted = CommandGetTables { include_schema: false, ..command.clone() };
    let tenant = scope.tenant.as_str();
    let mut names = wanted.into_builder();
    let filter = CommandGetDbSchemas {
        catalog: command.catalog.clone(),
        db_schema_filter_pattern: command.db_schema_filter_pattern.clone(),
    };
    for namespace in texts(&schemas(source, scope, filter).await?, 1) {
        for table in source.tables(scope, &namespace).await? {
            names.append(tenant, &namespace, table, TABLE, &Schema::empty()).map_err(broken)?;
        }
    }
    let names = names.build().map_err(broken)?;
    if !command.include_schema {
        return Ok(names);
    }
    let found: Vec<(TableName, Option<SchemaRef>)> = stream::iter(texts(&names, 1).into_iter().zip(texts(&names, 2)))
        .map(|(namespace, table)| async move {
            let name = TableName::new(namespace, table);
            let schema = source.schema(scope, &name).await?;
            Ok::<_, Error>((name, schema))
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let mut builder = command.into_builder();
    // A table dropped since it was listed has no schema and is left out.
    for (name, schema) in found.into_iter().filter_map(|(name, schema)| Some((name, schema?))) {
        builder.append(tenant, &name.namespace, &name.table, TABLE, &advertised(&schema)).map_err(broken)?;
    }
    builder.build().map_err(broken)
}

fn texts(batch: &RecordBatch, column: usize) -> Vec<String> {
    let column = batch.column(column).as_string::<i32>();
    (0..column.len()).map(|row| column.value(row).to_owned()).collect()
}
