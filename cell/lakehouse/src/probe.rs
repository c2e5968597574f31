//! Proof, at start-up, that the store keeps the promise commits stand on.
//!
//! Several S3 lookalikes ignore `If-None-Match` and `If-Match`, and others check them without a
//! lock, so that several writers of one race win. Such a store is refused before the first request.

use bytes::Bytes;
use futures::future::join_all;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use uuid::Uuid;

use crate::bucket::{Bucket, Put, put_if_absent, put_if_match};
use crate::error::{Error, Result};

/// Writers of the race.
const WRITERS: usize = 16;

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
    let first = one_winner(bucket, path).await?;
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

/// Many writers of one new object: exactly one may win. Its ETag.
async fn one_winner(bucket: &Bucket, path: &Path) -> Result<String> {
    let writers =
        (0..WRITERS).map(|n| put_if_absent(bucket.store().as_ref(), path, Bytes::from(format!("writer {n}"))));
    let outcomes = join_all(writers).await.into_iter().collect::<Result<Vec<Put>>>()?;
    let mut winners = outcomes.into_iter().filter_map(|put| match put {
        Put::Done(etag) => Some(etag),
        Put::Refused => None,
    });
    match (winners.next(), winners.next()) {
        (Some(Some(etag)), None) => Ok(etag),
        (Some(None), None) => Err(Error::UnsafeStore("it names no ETag")),
        (None, _) => Err(Error::UnsafeStore("If-None-Match refused a new object")),
        (Some(_), Some(_)) => Err(Error::UnsafeStore("several writers of one object won")),
    }
}
