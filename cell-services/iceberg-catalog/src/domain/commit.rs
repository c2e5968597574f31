//! One table's part of a commit: from the metadata that is to the metadata that shall be.

use iceberg::spec::TableMetadata;
use iceberg::{TableRequirement, TableUpdate};
use kit::nature;
use lakehouse::TenantBucket;
use serde::Deserialize;

use super::{creation, location};
use crate::error::{Error, Result};

/// Body of a commit. The identifier is required where the path does not name the table.
#[derive(Debug, Clone, Deserialize)]
pub struct Change {
    #[serde(default)]
    pub identifier: Option<lakehouse::TableName>,
    #[serde(default)]
    pub requirements: Vec<TableRequirement>,
    #[serde(default)]
    pub updates: Vec<TableUpdate>,
}

impl Change {
    /// Whether the commit makes the table, finishing a staged creation.
    pub fn creates(&self) -> bool {
        self.requirements.contains(&TableRequirement::NotExist)
    }
}

/// Checks that no update leads outside the tenant's part of the bucket. Needs no metadata.
pub fn check_locations(bucket: &TenantBucket, change: &Change) -> Result<()> {
    change.updates.iter().try_for_each(|update| location::check_update(bucket, update))
}

/// The metadata after the commit; `None` when it changes nothing.
pub fn on_existing(current: &TableMetadata, current_location: &str, change: &Change) -> Result<Option<TableMetadata>> {
    for requirement in &change.requirements {
        requirement.check(Some(current)).map_err(|error| Error::refused(&error))?;
    }
    if change.updates.is_empty() {
        return Ok(None);
    }
    let now = nature::now_ms().max(current.last_updated_ms());
    let updates = change.updates.iter().map(|update| dated(update, now)).collect::<Result<Vec<_>>>()?;
    apply(current.clone().into_builder(Some(current_location.to_owned())), &updates).map(Some)
}

/// A writer whose clock is ahead does not date the table into the future: until then Iceberg would
/// refuse every change that adds no snapshot, such as a new column.
fn dated(update: &TableUpdate, now_ms: i64) -> Result<TableUpdate> {
    match update {
        TableUpdate::AddSnapshot { snapshot } if snapshot.timestamp_ms() > now_ms => {
            let mut json = serde_json::to_value(update).map_err(|error| Error::Invalid(error.to_string()))?;
            json["snapshot"]["timestamp-ms"] = now_ms.into();
            serde_json::from_value(json).map_err(|error| Error::Invalid(error.to_string()))
        }
        other => Ok(other.clone()),
    }
}

/// The first metadata of a table whose creation was staged.
pub fn on_new(change: &Change, default_location: &str) -> Result<TableMetadata> {
    for requirement in &change.requirements {
        requirement.check(None).map_err(|error| Error::refused(&error))?;
    }
    let empty = creation::from_updates(&change.updates, default_location)?;
    apply(empty.into_builder(None), &change.updates)
}

fn apply(mut builder: iceberg::spec::TableMetadataBuilder, updates: &[TableUpdate]) -> Result<TableMetadata> {
    for update in updates {
        builder = update.clone().apply(builder).map_err(|error| Error::refused(&error))?;
    }
    Ok(builder.build().map_err(|error| Error::refused(&error))?.metadata)
}
