//! Files below a table that no table knows: left by writers that died before their commit, and metadata that was
//! followed by so many that the table forgot it.
//!
//! Invariant: what cannot be read is not judged. A reference that does not resolve is an error, and then nothing is
//! deleted.

use std::collections::HashSet;

use futures::TryStreamExt;
use iceberg::spec::TableMetadata;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use time::OffsetDateTime;

use crate::bucket::TenantBucket;
use crate::error::{Error, Result};
use crate::manifest;

/// Where writers put a table's files, below its location.
const FOLDERS: [&str; 2] = ["data", "metadata"];

/// Everything that tables lead to, collected table by table.
#[derive(Debug, Default)]
pub struct Known {
    files: HashSet<Path>,
    most: usize,
}

impl Known {
    /// `most` bounds the memory: a file takes about 200 bytes.
    pub fn up_to(most: usize) -> Self {
        Self { files: HashSet::new(), most }
    }

    pub fn contains(&self, file: &Path) -> bool {
        self.files.contains(file)
    }

    /// Adds all that the metadata at `location` leads to: every snapshot it still has, with its manifests and their
    /// files, live or not; statistics; the metadata before it.
    pub async fn add(&mut self, bucket: &TenantBucket, location: &str, metadata: &TableMetadata) -> Result<()> {
        self.insert(bucket, location)?;
        for earlier in metadata.metadata_log() {
            self.insert(bucket, &earlier.metadata_file)?;
        }
        for statistics in metadata.statistics_iter() {
            self.insert(bucket, &statistics.statistics_path)?;
        }
        for statistics in metadata.partition_statistics_iter() {
            self.insert(bucket, &statistics.statistics_path)?;
        }
        for snapshot in metadata.snapshots() {
            self.insert(bucket, snapshot.manifest_list())?;
            let mut unread = Vec::new();
            for manifest in manifest::list(bucket, metadata, snapshot).await? {
                // Most snapshots share most of their manifests.
                if self.insert(bucket, &manifest.manifest_path)? {
                    unread.push(manifest);
                }
            }
            for file in manifest::named_files(bucket, unread).await? {
                self.insert(bucket, &file)?;
            }
        }
        Ok(())
    }

    /// Whether the file was not known.
    fn insert(&mut self, bucket: &TenantBucket, location: &str) -> Result<bool> {
        let is_new = self.files.insert(bucket.path_of(location)?);
        match self.files.len() > self.most {
            true => Err(Error::Unsupported("collecting orphans among so many files")),
            false => Ok(is_new),
        }
    }
}

/// The files of a table at `location` that nobody has changed since `before`.
pub async fn aged(bucket: &TenantBucket, location: &str, before: OffsetDateTime) -> Result<Vec<Path>> {
    let mut found = Vec::new();
    for folder in FOLDERS {
        let below = bucket.path_of(&format!("{}/{folder}", location.trim_end_matches('/')))?;
        let mut listed = bucket.store().list(Some(&below));
        while let Some(object) = listed.try_next().await.map_err(Error::store("list", &below))? {
            if object.last_modified.timestamp() < before.unix_timestamp() {
                found.push(object.location);
            }
        }
    }
    Ok(found)
}

/// Deletes files; those that are not there any more are deleted already.
pub async fn delete(bucket: &TenantBucket, files: &[Path]) -> Result<()> {
    for file in files {
        match bucket.store().delete(file).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(source) => return Err(Error::store("delete", file)(source)),
        }
    }
    Ok(())
}
