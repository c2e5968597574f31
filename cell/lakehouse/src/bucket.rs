//! The cell's bucket, and a tenant's part of it.
//!
//! Everything that belongs to a tenant goes through [`TenantBucket`], which refuses a location
//! outside `s3://<bucket>/t/<tenant>/`. That matters on reads too: table metadata is written by
//! clients, and a manifest may name any object there is.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use contracts::TenantId;
use futures::{Stream, StreamExt};
use kit::service::BucketEndpoint;
use object_store::aws::{AmazonS3Builder, S3ConditionalPut};
use object_store::buffered::BufWriter;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, RetryConfig, UpdateVersion};
use tokio::io::AsyncWriteExt;

use crate::error::{Error, Result};

/// Bytes of one part of a streamed upload; S3's lower bound is 5 MiB.
const PART_BYTES: usize = 8 * 1024 * 1024;
/// Parts of one upload in flight: together with the part being filled they bound its memory.
const PARTS_IN_FLIGHT: usize = 2;

/// How long a call is repeated while the store is away, before the caller is told.
const RETRY_FOR: Duration = Duration::from_secs(15);
const RETRIES: usize = 6;

/// A cell's bucket, with the cell's own credentials.
#[derive(Clone)]
pub struct Bucket {
    store: Arc<dyn ObjectStore>,
    name: Arc<str>,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What became of a conditional put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Put {
    /// The object is ours; its ETag, if the store names one.
    Done(Option<String>),
    /// The condition did not hold and nothing was written.
    Refused,
}

impl Bucket {
    /// A client for the endpoint; makes no call. The process must have installed its rustls provider.
    pub fn connect(endpoint: &BucketEndpoint) -> Result<Self> {
        let store = AmazonS3Builder::new()
            .with_endpoint(endpoint.endpoint.as_str())
            .with_region(endpoint.region.as_str())
            .with_bucket_name(endpoint.name.as_str())
            .with_access_key_id(endpoint.access_key.as_str())
            .with_secret_access_key(endpoint.secret.expose())
            .with_virtual_hosted_style_request(false)
            .with_allow_http(plain_http_allowed(&endpoint.endpoint)?)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .with_retry(RetryConfig { max_retries: RETRIES, retry_timeout: RETRY_FOR, ..RetryConfig::default() })
            .build()
            .map_err(Error::store("be configured for", &Path::default()))?;
        Ok(Self::over(Arc::new(store), &endpoint.name))
    }

    /// A bucket over any store, for tests and other providers.
    pub fn over(store: Arc<dyn ObjectStore>, name: &str) -> Self {
        Self { store, name: name.into() }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The store behind the bucket; keys are paths from the bucket's root.
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// The part of the bucket a tenant owns.
    pub fn tenant(&self, tenant: &TenantId) -> TenantBucket {
        TenantBucket { bucket: self.clone(), prefix: format!("t/{tenant}/").into() }
    }
}

/// Plain HTTP carries credentials' signatures and rows in the clear: only on the machine itself.
fn plain_http_allowed(endpoint: &str) -> Result<bool> {
    let url = url::Url::parse(endpoint).map_err(|_| Error::Endpoint("it is not a URL"))?;
    let loopback = match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => return Err(Error::Endpoint("it names no host")),
    };
    match url.scheme() {
        "https" => Ok(false),
        "http" if loopback => Ok(true),
        "http" => Err(Error::Endpoint("plain http is for loopback addresses only")),
        _ => Err(Error::Endpoint("it is neither http nor https")),
    }
}

/// A tenant's part of the cell's bucket: objects under `t/<tenant>/` and nothing else.
#[derive(Clone, Debug)]
pub struct TenantBucket {
    bucket: Bucket,
    prefix: Arc<str>,
}

impl TenantBucket {
    pub fn bucket_name(&self) -> &str {
        &self.bucket.name
    }

    /// The store behind the bucket; keys are paths from the bucket's root, as [`Self::path_of`] gives them.
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.bucket.store
    }

    /// `t/<tenant>/`.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// `s3://<bucket>/t/<tenant>/<relative>`.
    pub fn location(&self, relative: &str) -> String {
        format!("s3://{}/{}{relative}", self.bucket.name, self.prefix)
    }

    /// The object a location names, if it is one of the tenant's.
    pub fn path_of(&self, location: &str) -> Result<Path> {
        let rest = location.strip_prefix("s3://").or_else(|| location.strip_prefix("s3a://")).ok_or(Error::Outside)?;
        let (bucket, key) = rest.split_once('/').ok_or(Error::Outside)?;
        if bucket != &*self.bucket.name || !key.starts_with(&*self.prefix) || key.len() == self.prefix.len() {
            return Err(Error::Outside);
        }
        // Refuses empty, `.` and `..` segments, so the prefix above cannot be climbed out of.
        Path::parse(key).map_err(|_| Error::Outside)
    }

    pub async fn get(&self, location: &str) -> Result<Bytes> {
        let path = self.path_of(location)?;
        let found = self.store().get(&path).await.map_err(Error::store("read", &path))?;
        found.bytes().await.map_err(Error::store("read", &path))
    }

    /// The same, for an object that somebody else wrote: refused when it is longer than `most` bytes.
    pub async fn get_up_to(&self, location: &str, most: u64) -> Result<Bytes> {
        let path = self.path_of(location)?;
        let found = self.store().get(&path).await.map_err(Error::store("read", &path))?;
        if found.meta.size > most {
            return Err(Error::TooLong(most));
        }
        found.bytes().await.map_err(Error::store("read", &path))
    }

    pub async fn put(&self, location: &str, bytes: Bytes) -> Result<()> {
        let path = self.path_of(location)?;
        self.store().put(&path, bytes.into()).await.map_err(Error::store("write", &path))?;
        Ok(())
    }

    /// Writes the object unless there is one already.
    pub async fn put_if_absent(&self, location: &str, bytes: Bytes) -> Result<Put> {
        put_if_absent(self.store().as_ref(), &self.path_of(location)?, bytes).await
    }

    /// Writes the object if it still has this ETag.
    pub async fn put_if_match(&self, location: &str, etag: &str, bytes: Bytes) -> Result<Put> {
        put_if_match(self.store().as_ref(), &self.path_of(location)?, etag, bytes).await
    }

    /// Deletes the object; one that is not there is deleted already.
    pub async fn delete(&self, location: &str) -> Result<()> {
        let path = self.path_of(location)?;
        match self.store().delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(Error::store("delete", &path)(source)),
        }
    }

    /// A writer of one object, in constant memory: at most three parts of 8 MiB.
    /// It must be shut down (the object appears) or aborted (it does not).
    pub fn writer(&self, location: &str) -> Result<BufWriter> {
        let path = self.path_of(location)?;
        Ok(BufWriter::with_capacity(self.store().clone(), path, PART_BYTES).with_max_concurrency(PARTS_IN_FLIGHT))
    }

    /// Streams bytes into one object and returns how many there were. Either the whole object
    /// appears or none of it.
    pub async fn upload<S, E>(&self, location: &str, mut bytes: S) -> Result<u64>
    where
        S: Stream<Item = std::result::Result<Bytes, E>> + Unpin + Send,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let path = self.path_of(location)?;
        let mut writer = self.writer(location)?;
        let mut total = 0_u64;
        let outcome = loop {
            match bytes.next().await {
                None => break Ok(()),
                Some(Err(error)) => break Err(Error::Input(error.into())),
                Some(Ok(chunk)) => {
                    total += chunk.len() as u64;
                    if let Err(error) = writer.put(chunk).await {
                        break Err(Error::store("write", &path)(error));
                    }
                }
            }
        };
        if let Err(error) = outcome {
            // The upload's parts are worthless; the first error is the one worth reporting.
            if let Err(left) = writer.abort().await {
                tracing::warn!(%path, error = %left, "an unfinished upload could not be aborted");
            }
            return Err(error);
        }
        writer.shutdown().await.map_err(|error| Error::store("write", &path)(error.into_store()))?;
        Ok(total)
    }
}

trait IntoStore {
    fn into_store(self) -> object_store::Error;
}

impl IntoStore for std::io::Error {
    fn into_store(self) -> object_store::Error {
        object_store::Error::Generic { store: "S3", source: Box::new(self) }
    }
}

pub(crate) async fn put_if_absent(store: &dyn ObjectStore, path: &Path, bytes: Bytes) -> Result<Put> {
    conditional(store, path, PutMode::Create, bytes).await
}

pub(crate) async fn put_if_match(store: &dyn ObjectStore, path: &Path, etag: &str, bytes: Bytes) -> Result<Put> {
    conditional(store, path, PutMode::Update(UpdateVersion { e_tag: Some(etag.to_owned()), version: None }), bytes)
        .await
}

/// 412 is the answer the condition deserves; 409 (two puts met) and, for If-Match, 404 mean the same.
async fn conditional(store: &dyn ObjectStore, path: &Path, mode: PutMode, bytes: Bytes) -> Result<Put> {
    use object_store::Error as Store;
    let options = PutOptions { mode, ..PutOptions::default() };
    match store.put_opts(path, bytes.into(), options).await {
        Ok(done) => Ok(Put::Done(done.e_tag)),
        Err(
            Store::AlreadyExists { .. }
            | Store::Precondition { .. }
            | Store::NotModified { .. }
            | Store::NotFound { .. },
        ) => Ok(Put::Refused),
        Err(source) => Err(Error::store("write", path)(source)),
    }
}
