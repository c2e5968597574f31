//! What a query has to read: the live files of a snapshot, with the statistics in its manifests.

use std::sync::Arc;

use iceberg::spec::{
    DataFile, DataFileFormat, Datum, ManifestContentType, ManifestEntry, SnapshotRef, Struct, TableMetadata,
};
use object_store::path::Path;

use crate::bucket::TenantBucket;
use crate::error::{Error, Result};
use crate::manifest;

/// One data file. Column statistics are by Iceberg field id; a bound that is absent is unknown.
#[derive(Debug, Clone)]
pub struct ScanFile {
    entry: Arc<ManifestEntry>,
    /// Key from the bucket's root; known to lie in the tenant's part.
    pub path: Path,
    pub partition_spec_id: i32,
}

impl ScanFile {
    pub fn data_file(&self) -> &DataFile {
        self.entry.data_file()
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        self.data_file().file_size_in_bytes()
    }

    pub fn rows(&self) -> u64 {
        self.data_file().record_count()
    }

    pub fn partition(&self) -> &Struct {
        self.data_file().partition()
    }

    /// No value of the column is below it.
    pub fn lower(&self, field_id: i32) -> Option<&Datum> {
        self.data_file().lower_bounds().get(&field_id)
    }

    /// No value of the column is above it.
    pub fn upper(&self, field_id: i32) -> Option<&Datum> {
        self.data_file().upper_bounds().get(&field_id)
    }

    pub fn nulls(&self, field_id: i32) -> Option<u64> {
        self.data_file().null_value_counts().get(&field_id).copied()
    }

    /// Compressed bytes of the column.
    pub fn column_bytes(&self, field_id: i32) -> Option<u64> {
        self.data_file().column_sizes().get(&field_id).copied()
    }

    /// Byte offsets where row groups begin.
    pub fn split_offsets(&self) -> &[i64] {
        self.data_file().split_offsets().unwrap_or_default()
    }
}

/// The live data files of a snapshot (`None`: the current one of `main`). A table without a snapshot
/// has none. Refuses what it would read wrongly: row deletes, other formats than Parquet, paths
/// outside the tenant's part of the bucket.
pub async fn files(bucket: &TenantBucket, table: &TableMetadata, snapshot_id: Option<i64>) -> Result<Vec<ScanFile>> {
    let Some(snapshot) = chosen(table, snapshot_id)? else { return Ok(Vec::new()) };
    let manifests = manifest::list(bucket, table, &snapshot).await?;
    let manifests = manifests.into_iter().filter(|m| m.has_added_files() || m.has_existing_files()).collect();
    let mut files = Vec::new();
    for (manifest, entries) in manifest::live_entries(bucket, manifests).await? {
        if manifest.content == ManifestContentType::Deletes && !entries.is_empty() {
            return Err(Error::Unsupported("reading a table with row-level delete files"));
        }
        for entry in entries {
            if entry.file_format() != DataFileFormat::Parquet {
                return Err(Error::Unsupported("reading data files that are not Parquet"));
            }
            let path = bucket.path_of(entry.file_path())?;
            files.push(ScanFile { entry, path, partition_spec_id: manifest.partition_spec_id });
        }
    }
    Ok(files)
}

fn chosen(table: &TableMetadata, snapshot_id: Option<i64>) -> Result<Option<SnapshotRef>> {
    match snapshot_id {
        None => Ok(table.current_snapshot().cloned()),
        Some(id) => table.snapshot_by_id(id).cloned().map(Some).ok_or(Error::NotFound("snapshot")),
    }
}
