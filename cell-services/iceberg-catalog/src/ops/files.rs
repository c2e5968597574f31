//! Metadata files: written once, never changed, so a parsed one is good for ever.

use std::io::Read;
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
    /// Bytes of the longest file that is read or written.
    longest: u64,
}

impl MetadataFiles {
    /// Keeps up to `bytes` in memory.
    pub(super) fn new(bytes: u64, longest: u64) -> Self {
        // The parsed form is about as large as the text.
        let weight = |location: &String, file: &Arc<MetadataFile>| {
            u32::try_from(location.len() + 2 * file.json.get().len()).unwrap_or(u32::MAX)
        };
        Self { cache: Cache::builder().max_capacity(bytes).weigher(weight).build(), longest }
    }

    pub(super) async fn load(&self, bucket: &TenantBucket, location: &str) -> Result<Arc<MetadataFile>> {
        if let Some(found) = self.cache.get(location).await {
            return Ok(found);
        }
        // A client may have written it, and may name any object of its own.
        let stored = bucket.get_up_to(location, self.longest).await.map_err(|error| match error {
            lakehouse::Error::TooLong(limit) => Error::MetadataTooLong { limit },
            other => other.into(),
        })?;
        let text = unpacked(stored, self.longest)?;
        let metadata: TableMetadata = serde_json::from_slice(&text).map_err(Error::Unreadable)?;
        let file = Arc::new(MetadataFile::new(location.to_owned(), metadata)?);
        self.cache.insert(location.to_owned(), file.clone()).await;
        Ok(file)
    }

    /// Writes a new file; an existing one is never overwritten.
    pub(super) async fn write(&self, bucket: &TenantBucket, file: &Arc<MetadataFile>) -> Result<()> {
        if file.json.get().len() as u64 > self.longest {
            return Err(Error::MetadataTooLong { limit: self.longest });
        }
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

/// The text of a file that may be packed with gzip, as some clients leave it.
fn unpacked(stored: Bytes, longest: u64) -> Result<Bytes> {
    if !stored.starts_with(&[0x1f, 0x8b]) {
        return Ok(stored);
    }
    let mut text = Vec::new();
    let mut packed = flate2::read::MultiGzDecoder::new(stored.as_ref()).take(longest + 1);
    packed.read_to_end(&mut text).map_err(|error| Error::Unreadable(serde_json::Error::io(error)))?;
    if text.len() as u64 > longest {
        return Err(Error::MetadataTooLong { limit: longest });
    }
    Ok(text.into())
}
