//! Table properties in which the platform's own services keep their records, such as a sink's progress.

use iceberg::TableUpdate;
use kit::{Actor, Scope};

use crate::error::{Error, Result};

const PREFIX: &str = "cytoplane.";

/// Only a service changes these: a user that did would spoil the table for itself.
pub fn check_properties<'a>(scope: &Scope, mut names: impl Iterator<Item = &'a String>) -> Result<()> {
    if matches!(scope.actor, Actor::Service(_)) {
        return Ok(());
    }
    match names.find(|name| name.starts_with(PREFIX)) {
        Some(name) => Err(Error::Unprocessable(format!("property {name} is kept by the platform"))),
        None => Ok(()),
    }
}

pub fn check_update(scope: &Scope, update: &TableUpdate) -> Result<()> {
    match update {
        TableUpdate::SetProperties { updates } => check_properties(scope, updates.keys()),
        TableUpdate::RemoveProperties { removals } => check_properties(scope, removals.iter()),
        _ => Ok(()),
    }
}
