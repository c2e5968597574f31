//! Metadata files: written once, never changed, so a parsed one is good for ever.

use std::sync::Arc;

use bytes::Bytes;
use iceberg::spec::TableMetadata;
use lakehouse::TenantBucket;
use lakehouse::bucket::Put;
use moka::future::Cache;
use serde_json::value::RawValue;

use crate::error::{Error, Result};

/// A metadata file, parsed and as text.
#[derive(Debug)]
pub struct MetadataFile {
    pub location: String,
    pub metadata: Arc<TableMetadata>,
    pub json: Box<RawValue>,
}

impl MetadataFile {
    pub fn new(location: String, metadata: TableMetadata) -> Result<Self> {
        let json = serde_json::value::to_raw_value(&metadata)?;
        Ok(Self { location, metadata: Arc::new(metadata), json })
    }
}

pub(super) struct MetadataFiles {
    cache: Cache<String, Arc<MetadataFile>>,
}

impl MetadataFiles {
    pub(super) fn new(bytes: u64) -> Self {
        // The parsed form is about as large as the text.
        let weight = |location: &String, file: &Arc<MetadataFile>| {
            u32::try_from(location.len() + 2 * file.json.get().len()).unwrap_or(u32::MAX)
        };
        Self { cache: Cache::builder().max_capacity(bytes).weigher(weight).build() }
    }

    pub(super) async fn load(&self, bucket: &TenantBucket, location: &str) -> Result<Arc<MetadataFile>> {
        if let Some(found) = self.cache.get(location).await {
            return Ok(found);
        }
        let metadata = TableMetadata::read_from(&bucket.file_io(), location).await.map_err(lakehouse::Error::from)?;
        let file = Arc::new(MetadataFile::new(location.to_owned(), metadata)?);
        self.cache.insert(location.to_owned(), file.clone()).await;
        Ok(file)
    }

    /// Writes a new file; an existing one is never overwritten.
    pub(super) async fn write(&self, bucket: &TenantBucket, file: &Arc<MetadataFile>) -> Result<()> {
        let bytes = Bytes::copy_from_slice(file.json.get().as_bytes());
        let put = bucket.put_if_absent(&file.location, bytes.clone()).await?;
        // The store's client repeats a put whose answer was lost, and then meets its own object.
        if put == Put::Refused && bucket.get(&file.location).await? != bytes {
            return Err(Error::Raced);
        }
        self.cache.insert(file.location.clone(), file.clone()).await;
        Ok(())
    }

    /// Deletes a file no pointer was moved to.
    pub(super) async fn discard(&self, bucket: &TenantBucket, location: &str) {
        self.cache.invalidate(location).await;
        if let Err(error) = bucket.delete(location).await {
            tracing::warn!(%location, error = %kit::fault::chain(&error), "an abandoned metadata file could not be deleted");
        }
    }
}
