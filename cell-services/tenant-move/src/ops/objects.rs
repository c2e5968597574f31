//! A tenant's folder of the bucket, as it is listed for another cell and copied from one.

use bytes::Bytes;
use contracts::TenantId;
use futures::{Stream, StreamExt, TryStreamExt};
use lakehouse::TenantBucket;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use serde::{Deserialize, Serialize};

use super::{IN_THE_BACKGROUND, Mover};
use crate::error::Error;

/// One object; its path is relative to the tenant's folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Listed {
    pub path: String,
    pub bytes: u64,
}

/// One line of the list as it travels (NDJSON); without its end it is not whole.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    Object(Listed),
    End,
}

/// Every object of the tenant.
pub fn list(folder: &TenantBucket) -> impl Stream<Item = Result<Listed, Error>> + Send + use<> {
    let prefix = folder.prefix().to_owned();
    let all = folder.store().list(Some(&Path::from(prefix.as_str())));
    all.map_err(Error::from).map(move |found| {
        let found = found?;
        let path = found.location.as_ref().strip_prefix(prefix.as_str()).ok_or(Error::Path)?.to_owned();
        Ok(Listed { path, bytes: found.size })
    })
}

/// Where a relative path lies; only below the tenant's folder.
pub fn place(folder: &TenantBucket, path: &str) -> Result<Path, Error> {
    Ok(folder.path_of(&folder.location(path))?)
}

impl Mover {
    pub fn folder(&self, tenant: &TenantId) -> TenantBucket {
        self.bucket.tenant(tenant)
    }

    pub async fn object(
        &self,
        tenant: &TenantId,
        path: &str,
    ) -> Result<impl Stream<Item = Result<Bytes, object_store::Error>> + Send + use<>, Error> {
        let folder = self.folder(tenant);
        let found = folder.store().get(&place(&folder, path)?).await?;
        Ok(found.into_stream())
    }

    /// Deletes the tenant's whole folder.
    pub async fn empty(&self, tenant: &TenantId) -> Result<u64, Error> {
        let folder = self.folder(tenant);
        let all = list(&folder).map(|found| found.and_then(|found| place(&folder, &found.path)));
        let mut paths: Vec<Path> = all.try_collect().await?;
        let count = paths.len() as u64;
        let store = folder.store();
        let gone = futures::stream::iter(paths.drain(..)).map(|path| async move { store.delete(&path).await });
        gone.buffer_unordered(IN_THE_BACKGROUND).try_collect::<Vec<()>>().await?;
        Ok(count)
    }
}
