//! One table's part of a commit: from the metadata that is to the metadata that shall be.

use iceberg::spec::TableMetadata;
use iceberg::{TableRequirement, TableUpdate};
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
    apply(current.clone().into_builder(Some(current_location.to_owned())), &change.updates).map(Some)
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
