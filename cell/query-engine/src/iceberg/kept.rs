//! Byte ranges of data files, kept in memory for the next statement that wants them.
//!
//! A data file is never changed once it is in a table, so what was read stays true. A range is only
//! asked for after the catalog has answered for its table in this very statement, and its key holds
//! the whole path with the tenant's part of the bucket.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use moka::future::Cache;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// Ranges longer than this part of the whole would push too much out.
const LARGEST_PART: u64 = 16;
/// What an entry costs beside its bytes: key, and the cache's own book.
const ENTRY_BYTES: usize = 256;

type Key = (Path, Range<u64>);

/// A store whose reads of ranges are kept. Everything else goes through.
pub(super) struct KeptRanges {
    store: Arc<dyn ObjectStore>,
    ranges: Cache<Key, Bytes>,
    largest: u64,
}

impl KeptRanges {
    /// Keeps up to `bytes` of what `store` answers.
    pub(super) fn new(store: Arc<dyn ObjectStore>, bytes: u64) -> Self {
        let weigh = |_: &Key, range: &Bytes| u32::try_from(range.len() + ENTRY_BYTES).unwrap_or(u32::MAX);
        Self {
            store,
            ranges: Cache::builder().max_capacity(bytes).weigher(weigh).build(),
            largest: bytes / LARGEST_PART,
        }
    }
}

impl fmt::Debug for KeptRanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptRanges").field("store", &self.store).finish_non_exhaustive()
    }
}

impl fmt::Display for KeptRanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kept ranges of {}", self.store)
    }
}

#[async_trait]
impl ObjectStore for KeptRanges {
    /// What is missing is read together, so that neighbours become one request.
    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let mut found = Vec::with_capacity(ranges.len());
        let mut missing = Vec::new();
        for range in ranges {
            let kept = self.ranges.get(&(location.clone(), range.clone())).await;
            if kept.is_none() {
                missing.push(range.clone());
            }
            found.push(kept);
        }
        if missing.is_empty() {
            return Ok(found.into_iter().flatten().collect());
        }
        let mut read = self.store.get_ranges(location, &missing).await?.into_iter();
        let mut answer = Vec::with_capacity(ranges.len());
        for (range, kept) in ranges.iter().zip(found) {
            let bytes = match kept.or_else(|| read.next()) {
                Some(bytes) => bytes,
                // A store that answers fewer ranges than it was asked for has broken its promise.
                None => return Err(Error::Generic { store: "kept ranges", source: "a range was not answered".into() }),
            };
            if missing.contains(range) && range.end - range.start <= self.largest {
                // Neighbours may be views of one buffer: a copy of its own keeps no more than it counts.
                self.ranges.insert((location.clone(), range.clone()), Bytes::copy_from_slice(&bytes)).await;
            }
            answer.push(bytes);
        }
        Ok(answer)
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.store.get_opts(location, options).await
    }

    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.store.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.store.put_multipart_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.store.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.store.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.store.copy_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use object_store::memory::InMemory;
    use object_store::{ObjectStoreExt, PutMode};

    use super::*;

    /// Counts the ranges that are really read.
    #[derive(Debug)]
    struct Counting(InMemory, AtomicUsize);

    impl fmt::Display for Counting {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("counting")
        }
    }

    #[async_trait]
    impl ObjectStore for Counting {
        async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
            self.1.fetch_add(ranges.len(), Ordering::Relaxed);
            self.0.get_ranges(location, ranges).await
        }
        async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
            self.0.get_opts(location, options).await
        }
        async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
            self.0.put_opts(location, payload, options).await
        }
        async fn put_multipart_opts(
            &self,
            at: &Path,
            options: PutMultipartOptions,
        ) -> Result<Box<dyn MultipartUpload>> {
            self.0.put_multipart_opts(at, options).await
        }
        fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
            self.0.delete_stream(locations)
        }
        fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
            self.0.list(prefix)
        }
        async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
            self.0.list_with_delimiter(prefix).await
        }
        async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
            self.0.copy_opts(from, to, options).await
        }
    }

    async fn store(bytes: u64) -> (KeptRanges, Arc<Counting>) {
        let counting = Arc::new(Counting(InMemory::new(), AtomicUsize::new(0)));
        for name in ["t/acme/a", "t/globex/a"] {
            let body: Vec<u8> = name.bytes().cycle().take(1000).collect();
            counting.put_opts(&name.into(), body.into(), PutMode::Create.into()).await.unwrap();
        }
        (KeptRanges::new(Arc::clone(&counting) as _, bytes), counting)
    }

    #[tokio::test]
    async fn a_range_is_read_once_and_answered_as_it_is() {
        let (kept, counting) = store(1 << 20).await;
        let path = Path::from("t/acme/a");
        let first = kept.get_ranges(&path, &[0..10, 500..600]).await.unwrap();
        let again = kept.get_ranges(&path, &[500..600, 10..20, 0..10]).await.unwrap();
        assert_eq!((&first[0], &first[1]), (&again[2], &again[0]));
        assert_eq!(again[1], counting.0.get_range(&path, 10..20).await.unwrap());
        assert_eq!(counting.1.load(Ordering::Relaxed), 3);
    }

    #[tokio::test]
    async fn another_tenants_file_of_that_name_is_another_file() {
        let (kept, _) = store(1 << 20).await;
        let ranges = [0..8, 8..10];
        let acme = kept.get_ranges(&Path::from("t/acme/a"), &ranges).await.unwrap();
        let globex = kept.get_ranges(&Path::from("t/globex/a"), &ranges).await.unwrap();
        assert_ne!(acme, globex);
    }

    #[tokio::test]
    async fn what_is_kept_is_bounded() {
        let (kept, counting) = store(4096).await;
        let path = Path::from("t/acme/a");
        // Longer than a sixteenth of the whole: read each time.
        for _ in 0..2 {
            kept.get_ranges(&path, std::slice::from_ref(&(0..900))).await.unwrap();
        }
        assert_eq!(counting.1.load(Ordering::Relaxed), 2);
        for start in 0..200 {
            kept.get_ranges(&path, std::slice::from_ref(&(start..start + 100))).await.unwrap();
        }
        kept.ranges.run_pending_tasks().await;
        assert!(kept.ranges.weighted_size() <= 4096, "{}", kept.ranges.weighted_size());
    }
}
