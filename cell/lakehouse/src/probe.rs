//! Proof, at start-up, that the store keeps the promise commits stand on.
//!
//! Several S3 lookalikes ignore `If-None-Match` and `If-Match`, and then two commits both win.
//! Such a store is refused before the first request.

use bytes::Bytes;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use uuid::Uuid;

use crate::bucket::{Bucket, Put, put_if_absent, put_if_match};
use crate::error::{Error, Result};

impl Bucket {
    /// Writes one small object under `probe/` in every conditional way and deletes it again.
    pub async fn probe(&self) -> Result<()> {
        let path = Path::from(format!("probe/{}", Uuid::now_v7()));
        let outcome = conditions_hold(self, &path).await;
        let removed = self.store().delete(&path).await.map_err(Error::store("delete", &path));
        outcome?;
        removed
    }
}

async fn conditions_hold(bucket: &Bucket, path: &Path) -> Result<()> {
    let store = bucket.store().as_ref();
    let Put::Done(Some(first)) = put_if_absent(store, path, Bytes::from_static(b"1")).await? else {
        return Err(Error::UnsafeStore("If-None-Match refused a new object, or the store names no ETag"));
    };
    if put_if_absent(store, path, Bytes::from_static(b"2")).await? != Put::Refused {
        return Err(Error::UnsafeStore("If-None-Match overwrote an object"));
    }
    let Put::Done(Some(_second)) = put_if_match(store, path, &first, Bytes::from_static(b"3")).await? else {
        return Err(Error::UnsafeStore("If-Match refused the current ETag"));
    };
    if put_if_match(store, path, &first, Bytes::from_static(b"4")).await? != Put::Refused {
        return Err(Error::UnsafeStore("If-Match accepted an old ETag"));
    }
    let found =
        store.get(path).await.map_err(Error::store("read", path))?.bytes().await.map_err(Error::store("read", path))?;
    if found.as_ref() != b"3" {
        return Err(Error::UnsafeStore("a refused write is visible"));
    }
    Ok(())
}
