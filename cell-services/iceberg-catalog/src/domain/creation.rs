//! The first metadata of a table.

use std::collections::HashMap;

use iceberg::TableUpdate;
use iceberg::spec::{FormatVersion, Schema, SortOrder, TableMetadata, TableMetadataBuilder, UnboundPartitionSpec};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::error::{Error, Result};

/// Body of a create request.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct NewTable {
    pub name: String,
    pub location: Option<String>,
    pub schema: Schema,
    pub partition_spec: Option<UnboundPartitionSpec>,
    pub write_order: Option<SortOrder>,
    #[serde(default)]
    pub stage_create: bool,
    #[serde(default)]
    pub properties: Option<HashMap<String, String>>,
}

/// Clients choose the format version by a property that is not stored.
fn format_version(properties: &mut HashMap<String, String>) -> Result<FormatVersion> {
    match properties.remove("format-version").as_deref() {
        None | Some("2") => Ok(FormatVersion::V2),
        Some("1") => Ok(FormatVersion::V1),
        Some("3") => Ok(FormatVersion::V3),
        Some(_) => Err(Error::Invalid("the format version is 1, 2 or 3".to_owned())),
    }
}

/// Metadata of a table that is made in one request; field, spec and order ids are assigned afresh.
pub fn from_request(request: NewTable, id: Uuid, location: String) -> Result<TableMetadata> {
    let mut properties = request.properties.unwrap_or_default();
    let version = format_version(&mut properties)?;
    let spec = request.partition_spec.unwrap_or_default();
    let order = request.write_order.unwrap_or_else(SortOrder::unsorted_order);
    let builder = TableMetadataBuilder::new(request.schema, spec, order, location, version, properties)
        .map_err(|error| Error::refused(&error))?;
    let built = builder.assign_uuid(id).build().map_err(|error| Error::refused(&error))?;
    Ok(built.metadata)
}

/// The empty table a staged creation begins with. Its ids are the ones the client has already
/// written into data files, so nothing is assigned afresh: schema, spec and order are taken as
/// they stand, and applying the same updates again then changes nothing.
pub fn from_updates(updates: &[TableUpdate], default_location: &str) -> Result<TableMetadata> {
    let mut first = First::default();
    updates.iter().for_each(|update| first.see(update));
    let schema = first.schema.ok_or_else(|| Error::Invalid("a new table needs a schema".to_owned()))?;
    let spec = first.spec.unwrap_or_default();
    let order = first.order.unwrap_or_else(SortOrder::unsorted_order);
    let mut next_field = 1000;
    let fields: Vec<Value> = spec
        .fields()
        .iter()
        .map(|field| {
            let id = field.field_id.unwrap_or(next_field);
            next_field = next_field.max(id + 1);
            json!({ "source-id": field.source_id, "field-id": id, "name": field.name, "transform": field.transform })
        })
        .collect();
    let mut wire_schema = serde_json::to_value(&schema)?;
    wire_schema["schema-id"] = json!(0);
    let order_id = i64::from(!order.fields.is_empty());
    let wire = json!({
        "format-version": first.version.unwrap_or(FormatVersion::V2) as u8,
        "table-uuid": first.uuid.unwrap_or_else(Uuid::now_v7),
        "location": first.location.as_deref().unwrap_or(default_location),
        "last-sequence-number": 0,
        "last-updated-ms": 0,
        "last-column-id": schema.highest_field_id(),
        "schema": wire_schema.clone(),
        "schemas": [wire_schema],
        "current-schema-id": 0,
        "partition-spec": fields.clone(),
        "partition-specs": [{ "spec-id": 0, "fields": fields }],
        "default-spec-id": 0,
        "last-partition-id": next_field - 1,
        "sort-orders": [{ "order-id": order_id, "fields": order.fields }],
        "default-sort-order-id": order_id,
        "next-row-id": 0,
        "properties": {},
        "snapshots": [],
    });
    serde_json::from_value(wire).map_err(|error| Error::Invalid(format!("the new table is not well formed: {error}")))
}

#[derive(Default)]
struct First {
    version: Option<FormatVersion>,
    uuid: Option<Uuid>,
    location: Option<String>,
    schema: Option<Schema>,
    spec: Option<UnboundPartitionSpec>,
    order: Option<SortOrder>,
}

impl First {
    fn see(&mut self, update: &TableUpdate) {
        match update {
            TableUpdate::UpgradeFormatVersion { format_version } => self.version = Some(*format_version),
            TableUpdate::AssignUuid { uuid } => self.uuid = Some(*uuid),
            TableUpdate::SetLocation { location } => self.location = Some(location.clone()),
            TableUpdate::AddSchema { schema } => drop(self.schema.get_or_insert_with(|| schema.clone())),
            TableUpdate::AddSpec { spec } => drop(self.spec.get_or_insert_with(|| spec.clone())),
            TableUpdate::AddSortOrder { sort_order } => drop(self.order.get_or_insert_with(|| sort_order.clone())),
            _ => {}
        }
    }
}
