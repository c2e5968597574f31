//! Where a table's files may lie.

use iceberg::TableUpdate;
use iceberg::spec::TableMetadata;
use lakehouse::{TableName, TenantBucket};
use uuid::Uuid;

use crate::error::{Error, Result};

/// Table properties that name a place where writers put files.
const PATH_PROPERTIES: &[&str] =
    &["write.data.path", "write.metadata.path", "write.object-storage.path", "write.folder-storage.path"];

/// `s3://<bucket>/t/<tenant>/iceberg/<namespace>/<table>-<uuid>`. The id keeps a table that is
/// dropped and made again apart from its former self; the name is only for readers.
pub fn of_new_table(bucket: &TenantBucket, name: &TableName, id: Uuid) -> String {
    let namespace: Vec<String> = name.namespace().levels().iter().map(|level| plain(level)).collect();
    bucket.location(&format!("iceberg/{}/{}-{}", namespace.join("/"), plain(name.name()), id.simple()))
}

/// Only letters every object store and every client agrees on.
fn plain(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' }).collect()
}

/// Where the metadata file number `version` of a table lies.
pub fn of_metadata(table_location: &str, version: i64, id: Uuid) -> String {
    format!("{}/metadata/{version:05}-{id}.metadata.json", table_location.trim_end_matches('/'))
}

/// Refuses a location outside the tenant's part of the bucket.
pub fn check(bucket: &TenantBucket, location: &str) -> Result<()> {
    bucket.path_of(location.trim_end_matches('/')).map(drop).map_err(|_| Error::Location(bucket.location("")))
}

pub fn check_properties<'a>(
    bucket: &TenantBucket,
    mut properties: impl Iterator<Item = (&'a String, &'a String)>,
) -> Result<()> {
    properties.try_for_each(
        |(name, value)| if PATH_PROPERTIES.contains(&name.as_str()) { check(bucket, value) } else { Ok(()) },
    )
}

/// Everything in an update that names a file or a folder.
pub fn check_update(bucket: &TenantBucket, update: &TableUpdate) -> Result<()> {
    match update {
        TableUpdate::SetLocation { location } => check(bucket, location),
        TableUpdate::SetProperties { updates } => check_properties(bucket, updates.iter()),
        TableUpdate::AddSnapshot { snapshot } => check(bucket, snapshot.manifest_list()),
        TableUpdate::SetStatistics { statistics } => check(bucket, &statistics.statistics_path),
        TableUpdate::SetPartitionStatistics { partition_statistics } => {
            check(bucket, &partition_statistics.statistics_path)
        }
        _ => Ok(()),
    }
}

/// The same for metadata that was written by somebody else.
pub fn check_metadata(bucket: &TenantBucket, metadata: &TableMetadata) -> Result<()> {
    check(bucket, metadata.location())?;
    check_properties(bucket, metadata.properties().iter())?;
    metadata.snapshots().try_for_each(|snapshot| check(bucket, snapshot.manifest_list()))?;
    metadata.metadata_log().iter().try_for_each(|entry| check(bucket, &entry.metadata_file))?;
    metadata.statistics_iter().try_for_each(|file| check(bucket, &file.statistics_path))?;
    metadata.partition_statistics_iter().try_for_each(|file| check(bucket, &file.statistics_path))
}
