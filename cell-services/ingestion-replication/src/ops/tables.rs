//! The table of a stream: made when first needed, grown with the stream's schema.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use contracts::TenantId;
use iceberg::spec::{NestedField, Schema};
use iceberg::{TableRequirement, TableUpdate};
use kit::Scope;
use lakehouse::{Catalog, LoadedTable, Namespace, TableName};
use parking_lot::Mutex;
use uuid::Uuid;

use super::definitions::Definition;
use crate::decode::table_schema;
use crate::domain::{NAMESPACE, STREAM_PROPERTY, table_candidates};
use crate::error::Error;

/// A stream's table that fits its definition's version.
#[derive(Debug, Clone)]
struct Fitted {
    name: TableName,
    version: i32,
}

/// What is known of streams' tables.
#[derive(Default)]
pub struct Tables {
    fitted: Mutex<HashMap<(TenantId, Uuid), Fitted>>,
    /// Tables whose rows were given up last time: they get one try until they take rows again, so
    /// that a table its tenant has spoilt does not slow down every round of the others.
    spoilt: Mutex<HashSet<(TenantId, Uuid)>>,
}

impl Tables {
    /// Something was not as remembered: look again next time.
    pub fn forget(&self, tenant: &TenantId, stream: Uuid) {
        self.fitted.lock().remove(&(tenant.clone(), stream));
    }

    pub fn spoilt(&self, tenant: &TenantId, stream: Uuid) {
        self.spoilt.lock().insert((tenant.clone(), stream));
    }

    pub fn sound(&self, tenant: &TenantId, stream: Uuid) {
        self.spoilt.lock().remove(&(tenant.clone(), stream));
    }

    pub fn is_spoilt(&self, tenant: &TenantId, stream: Uuid) -> bool {
        self.spoilt.lock().contains(&(tenant.clone(), stream))
    }

    /// Name of the stream's table; afterwards it exists and has the definition's columns.
    pub async fn ensure(
        &self,
        catalog: &Catalog,
        scope: &Scope,
        stream: Uuid,
        definition: &Definition,
    ) -> Result<TableName, Error> {
        let key = (scope.tenant.clone(), stream);
        let known = self.fitted.lock().get(&key).cloned();
        if let Some(known) = known.filter(|k| k.version >= definition.version) {
            return Ok(known.name);
        }
        let table = find_or_make(catalog, scope, stream, definition).await?;
        grow(catalog, scope, &table, definition).await?;
        self.fitted.lock().insert(key, Fitted { name: table.name.clone(), version: definition.version });
        Ok(table.name)
    }
}

async fn find_or_make(
    catalog: &Catalog,
    scope: &Scope,
    stream: Uuid,
    definition: &Definition,
) -> Result<LoadedTable, Error> {
    let mut free = None;
    // All names are looked at before one is made: a table of ours may stand under the second name.
    for candidate in table_candidates(&definition.name, &stream) {
        let name = table_name(&candidate)?;
        match catalog.load(scope, &name).await {
            Ok(table) if belongs(&table, stream) => return Ok(table),
            Ok(_) => {}
            Err(error) if error.is_not_found() => free = free.or(Some(name)),
            Err(error) => return Err(error.into()),
        }
    }
    let name = free.ok_or(Error::NoTableName)?;
    let schema = lakehouse::schema::from_arrow(&table_schema(&definition.fields))?;
    let properties = HashMap::from([(STREAM_PROPERTY.to_owned(), stream.to_string())]);
    let table = catalog.ensure_table(scope, &name, &schema, properties).await?;
    // Somebody else may have made it between our look and our making.
    if belongs(&table, stream) { Ok(table) } else { Err(Error::NoTableName) }
}

pub fn belongs(table: &LoadedTable, stream: Uuid) -> bool {
    table.metadata.properties().get(STREAM_PROPERTY).is_some_and(|owner| *owner == stream.to_string())
}

pub fn table_name(table: &str) -> Result<TableName, Error> {
    let namespace = Namespace::new(vec![NAMESPACE.to_owned()]).map_err(|e| Error::Columns(e.to_string()))?;
    TableName::new(namespace, table).map_err(|e| Error::Columns(e.to_string()))
}

/// Adds the columns the table lacks, as optional ones: older rows have no value for them.
async fn grow(catalog: &Catalog, scope: &Scope, table: &LoadedTable, definition: &Definition) -> Result<(), Error> {
    let metadata = &table.metadata;
    let current = metadata.current_schema();
    let wanted = lakehouse::schema::from_arrow(&table_schema(&definition.fields))?;
    let mut fields: Vec<Arc<NestedField>> = current.as_struct().fields().to_vec();
    let mut last_id = metadata.last_column_id();
    for field in wanted.as_struct().fields() {
        match current.field_by_name(&field.name) {
            Some(same) if same.field_type == field.field_type => {}
            Some(_) => return Err(Error::Columns(format!("column {} has another type", field.name))),
            None => {
                last_id += 1;
                fields.push(Arc::new(NestedField::optional(last_id, &field.name, field.field_type.as_ref().clone())));
            }
        }
    }
    if last_id == metadata.last_column_id() {
        return Ok(());
    }
    let schema = Schema::builder().with_fields(fields).build().map_err(lakehouse::Error::from)?;
    let requirements = [
        TableRequirement::UuidMatch { uuid: metadata.uuid() },
        TableRequirement::CurrentSchemaIdMatch { current_schema_id: metadata.current_schema_id() },
        TableRequirement::LastAssignedFieldIdMatch { last_assigned_field_id: metadata.last_column_id() },
    ];
    // -1 is Iceberg's word for "the schema this commit adds".
    let updates = [TableUpdate::AddSchema { schema }, TableUpdate::SetCurrentSchema { schema_id: -1 }];
    catalog.commit(scope, &table.name, &requirements, &updates).await?;
    Ok(())
}
