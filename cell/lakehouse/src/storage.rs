//! Iceberg's file abstraction over a tenant's part of the bucket.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use iceberg::io::{
    FileIO, FileIOBuilder, FileMetadata, FileRead, FileWrite, InputFile, OutputFile, Storage, StorageConfig,
    StorageFactory,
};
use iceberg::{Error as IcebergError, ErrorKind, Result};
use object_store::buffered::BufWriter;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::io::AsyncWriteExt;

use crate::bucket::TenantBucket;
use crate::error::Error;
use crate::untrusted;

impl TenantBucket {
    /// Iceberg's readers and writers, confined to the tenant's part of the bucket.
    pub fn file_io(&self) -> FileIO {
        FileIOBuilder::new(Arc::new(BucketStorage { bucket: Some(self.clone()) })).build()
    }
}

/// The trait demands serde; credentials never travel, so a storage that was serialised comes back
/// empty and refuses every call.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
struct BucketStorage {
    #[serde(skip)]
    bucket: Option<TenantBucket>,
}

#[typetag::serde(name = "cytoplane-bucket-factory")]
impl StorageFactory for BucketStorage {
    fn build(&self, _config: &StorageConfig) -> Result<Arc<dyn Storage>> {
        Ok(Arc::new(self.clone()))
    }
}

fn external(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> IcebergError {
    let error = error.into();
    IcebergError::new(ErrorKind::Unexpected, "the object store failed").with_source(WrappedError(error))
}

/// `iceberg::Error::with_source` wants `Into<anyhow::Error>`, which a boxed error is not.
#[derive(Debug)]
pub(crate) struct WrappedError(pub Box<dyn std::error::Error + Send + Sync>);

impl std::fmt::Display for WrappedError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for WrappedError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

impl BucketStorage {
    fn bucket(&self) -> Result<&TenantBucket> {
        self.bucket
            .as_ref()
            .ok_or_else(|| IcebergError::new(ErrorKind::Unexpected, "this storage was serialised and holds no bucket"))
    }

    fn open(&self, location: &str) -> Result<(Arc<dyn ObjectStore>, Path)> {
        let bucket = self.bucket()?;
        let path =
            bucket.path_of(location).map_err(|error| IcebergError::new(ErrorKind::DataInvalid, error.to_string()))?;
        Ok((bucket.store().clone(), path))
    }
}

#[async_trait]
#[typetag::serde(name = "cytoplane-bucket")]
impl Storage for BucketStorage {
    async fn exists(&self, path: &str) -> Result<bool> {
        let (store, path) = self.open(path)?;
        match store.head(&path).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(external(error)),
        }
    }

    async fn metadata(&self, path: &str) -> Result<FileMetadata> {
        let (store, path) = self.open(path)?;
        let found = store.head(&path).await.map_err(external)?;
        Ok(FileMetadata { size: found.size })
    }

    /// What Iceberg's library reads as a whole is a manifest, which a client of the tenant may have written.
    async fn read(&self, path: &str) -> Result<Bytes> {
        let file = self.bucket()?.get_up_to(path, untrusted::MANIFEST_BYTES).await?;
        untrusted::check_avro(&file)?;
        Ok(file)
    }

    async fn reader(&self, path: &str) -> Result<Box<dyn FileRead>> {
        let (store, path) = self.open(path)?;
        Ok(Box::new(ObjectReader { store, path }))
    }

    async fn write(&self, path: &str, bytes: Bytes) -> Result<()> {
        let (store, path) = self.open(path)?;
        store.put(&path, bytes.into()).await.map_err(external)?;
        Ok(())
    }

    async fn writer(&self, path: &str) -> Result<Box<dyn FileWrite>> {
        let writer = self
            .bucket()?
            .writer(path)
            .map_err(|error| IcebergError::new(ErrorKind::DataInvalid, error.to_string()))?;
        Ok(Box::new(ObjectWriter { writer: Some(writer) }))
    }

    async fn delete(&self, path: &str) -> Result<()> {
        let (store, path) = self.open(path)?;
        match store.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(external(error)),
        }
    }

    async fn delete_prefix(&self, path: &str) -> Result<()> {
        let (store, prefix) = self.open(path)?;
        let found = store.list(Some(&prefix)).map(|entry| entry.map(|meta| meta.location)).boxed();
        let mut deleted = store.delete_stream(found);
        while let Some(outcome) = deleted.next().await {
            outcome.map_err(external)?;
        }
        Ok(())
    }

    async fn delete_stream(&self, mut paths: BoxStream<'static, String>) -> Result<()> {
        while let Some(path) = paths.next().await {
            self.delete(&path).await?;
        }
        Ok(())
    }

    fn new_input(&self, path: &str) -> Result<InputFile> {
        Ok(InputFile::new(Arc::new(self.clone()), path.to_owned()))
    }

    fn new_output(&self, path: &str) -> Result<OutputFile> {
        Ok(OutputFile::new(Arc::new(self.clone()), path.to_owned()))
    }
}

struct ObjectReader {
    store: Arc<dyn ObjectStore>,
    path: Path,
}

#[async_trait]
impl FileRead for ObjectReader {
    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        self.store.get_range(&self.path, range).await.map_err(external)
    }
}

/// Streams into one object. A writer that is dropped before it is closed leaves no object; parts
/// already sent are aborted as far as that is still possible, and the bucket's lifecycle rule for
/// unfinished uploads takes the rest.
struct ObjectWriter {
    writer: Option<BufWriter>,
}

#[async_trait]
impl FileWrite for ObjectWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        match &mut self.writer {
            Some(writer) => writer.put(bytes).await.map_err(external),
            None => Err(IcebergError::new(ErrorKind::Unexpected, "the file is closed")),
        }
    }

    async fn close(&mut self) -> Result<()> {
        match self.writer.take() {
            Some(mut writer) => writer.shutdown().await.map_err(external),
            None => Err(IcebergError::new(ErrorKind::Unexpected, "the file is closed")),
        }
    }
}

impl Drop for ObjectWriter {
    fn drop(&mut self) {
        let (Some(mut writer), Ok(runtime)) = (self.writer.take(), tokio::runtime::Handle::try_current()) else {
            return;
        };
        runtime.spawn(async move {
            if let Err(error) = writer.abort().await {
                tracing::warn!(%error, "an unfinished upload could not be aborted");
            }
        });
    }
}

impl From<Error> for IcebergError {
    fn from(error: Error) -> Self {
        external(error)
    }
}
