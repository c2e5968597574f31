//! What others do to a table meanwhile: commit first, rewrite it, expire its snapshots.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;
use contracts::TenantId;
use futures::stream;
use iceberg::TableUpdate;
use iceberg::spec::{FormatVersion, ManifestList};
use lakehouse::snapshot::{Commit, Extra, append, overwrite_all};
use lakehouse::write::{WriteOptions, write_parquet};
use lakehouse::{TenantBucket, scan};
use object_store::ObjectStoreExt;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::catalog::{Change, Entry, Key};
use super::fault::Fault;
use super::world::World;
use crate::domain::{OFFSETS_PROPERTY, STREAM_PROPERTY};

/// The tenant that spoils its tables when the run is about that.
const SPOILER: &str = "acme";

/// Between the sink's load and its commit.
pub async fn meddle(world: &Arc<World>, key: &Key) {
    let (rival, rewrite, expiry) = match world.fault {
        Fault::Conflict => (0.4, 0.0, 0.0),
        Fault::Compaction => (0.02, 0.35, 0.02),
        Fault::MarkerExpired => (0.02, 0.15, 0.4),
        _ => (0.02, 0.01, 0.02),
    };
    if world.chance(rival) {
        struck(world, Fault::Conflict);
        rival_commit(world, key).await;
    }
    if world.chance(rewrite) {
        struck(world, Fault::Compaction);
        compact(world, key).await;
    }
    if world.chance(expiry) {
        struck(world, Fault::MarkerExpired);
        expire(world, key);
    }
    if world.fault == Fault::Spoilt && key.0 == SPOILER && world.chance(0.3) {
        spoil(world, key).await;
    }
}

/// The tenant does to its own table what its rights allow.
async fn spoil(world: &World, key: &Key) {
    let Some((entry, bucket)) = found(world, key) else { return };
    let Some(stream) = entry.metadata.properties().get(STREAM_PROPERTY).and_then(|id| id.parse().ok()) else { return };
    world.strike();
    world.spoilt.lock().insert(stream);
    let set = |name: &str, value: &str| {
        let updates = HashMap::from([(name.to_owned(), value.to_owned())]);
        Change { requirements: Vec::new(), updates: vec![TableUpdate::SetProperties { updates }] }
    };
    let change = match world.below(5) {
        0 => set(OFFSETS_PROPERTY, "garbage"),
        1 => set(OFFSETS_PROPERTY, r#"{"topic-id":"forged"}"#),
        2 => set(STREAM_PROPERTY, "nobody's"),
        lost => {
            let Some(list) = entry.lists.last() else { return };
            let named = named_by(&bucket, list).await.unwrap_or_default();
            let path = bucket.path_of(list).unwrap();
            let path = if lost == 3 { path } else { named.first().map_or(path, |name| name.as_str().into()) };
            world.note(format_args!("others: {path} is deleted"));
            let _ = world.objects.delete(&path).await;
            return;
        }
    };
    let done = world.tables.lock().commit(key, change);
    world.note(format_args!("others: {}/{} is spoilt: {:?}", key.0, key.1, done.map(drop)));
}

/// After a commit whose sender does not know of it: its own mark may be gone when it looks.
pub fn expire_unseen(world: &World, key: &Key) {
    if world.fault == Fault::MarkerExpired {
        struck(world, Fault::MarkerExpired);
        expire(world, key);
    }
}

fn struck(world: &World, fault: Fault) {
    if world.fault == fault {
        world.strike();
    }
}

fn found(world: &World, key: &Key) -> Option<(Entry, TenantBucket)> {
    let entry = world.tables.lock().live.get(key).cloned()?;
    let bucket = world.bucket().tenant(&TenantId::new(&*entry.tenant).unwrap());
    Some((entry, bucket))
}

fn send(world: &World, key: &Key, commit: Commit, what: &str) {
    let change = Change { requirements: commit.requirements, updates: commit.updates };
    let done = world.tables.lock().commit(key, change);
    world.note(format_args!("others: {what} of {}/{}: {:?}", key.0, key.1, done.map(drop)));
}

async fn rival_commit(world: &World, key: &Key) {
    let Some((entry, bucket)) = found(world, key) else { return };
    let commit = match append(&bucket, &entry.loaded(), Vec::new(), Extra::default()).await {
        Ok(commit) => commit,
        Err(error) => return world.note(format_args!("others: no rival commit, {error}")),
    };
    send(world, key, commit, "rival commit");
}

/// One file in place of all, as maintenance writes it: without the sink's marks.
async fn compact(world: &World, key: &Key) {
    let Some((entry, bucket)) = found(world, key) else { return };
    let rows = match read(&bucket, &entry).await {
        Ok(rows) => rows,
        Err(error) => return world.note(format_args!("others: no compaction, {error}")),
    };
    let batches = stream::iter(rows.into_iter().map(Ok::<_, std::convert::Infallible>));
    let written = write_parquet(&bucket, &entry.metadata, batches, &WriteOptions::default()).await.unwrap();
    let commit = overwrite_all(&bucket, &entry.loaded(), written.files, Extra::default()).await.unwrap();
    send(world, key, commit, "compaction");
}

/// All snapshots but the current one.
fn expire(world: &World, key: &Key) {
    let Some((entry, _)) = found(world, key) else { return };
    let current = entry.metadata.current_snapshot_id();
    let old: Vec<i64> = entry.metadata.snapshots().map(|s| s.snapshot_id()).filter(|id| Some(*id) != current).collect();
    if old.is_empty() {
        return;
    }
    let change = Change { requirements: Vec::new(), updates: vec![TableUpdate::RemoveSnapshots { snapshot_ids: old }] };
    let done = world.tables.lock().commit(key, change);
    // Who lost a race may no longer see to whom, and then keeps its files.
    world.excuse_all();
    world.note(format_args!("others: expiry of {}/{}: {:?}", key.0, key.1, done.map(drop)));
}

/// All rows of a table, or why it cannot be read.
pub async fn read(bucket: &TenantBucket, entry: &Entry) -> Result<Vec<RecordBatch>, String> {
    let mut batches = Vec::new();
    let files = scan::files(bucket, &entry.metadata, None).await;
    let unreadable = |error: lakehouse::Error| format!("{} is not readable: {}", entry.name, kit::fault::chain(&error));
    for file in files.map_err(unreadable)? {
        let gone = |error: object_store::Error| format!("{} lacks its file {}: {error}", entry.name, file.path);
        let bytes: Bytes = bucket.store().get(&file.path).await.map_err(gone)?.bytes().await.map_err(gone)?;
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
        batches.extend(reader.map(Result::unwrap));
    }
    Ok(batches)
}

/// Keys of the manifests a list names, and of the files they name.
pub async fn named_by(bucket: &TenantBucket, list: &str) -> Result<Vec<String>, String> {
    let key = |location: &str| bucket.path_of(location).unwrap().to_string();
    let bytes = bucket.get(list).await.map_err(|error| kit::fault::chain(&error).to_string())?;
    let list = ManifestList::parse_with_version(&bytes, FormatVersion::V2).map_err(|error| error.to_string())?;
    let mut named = Vec::new();
    for manifest in list.entries() {
        named.push(key(&manifest.manifest_path));
        let read = manifest.load_manifest(&bucket.file_io()).await.map_err(|error| error.to_string())?;
        named.extend(read.entries().iter().map(|entry| key(entry.file_path())));
    }
    Ok(named)
}
