//! New snapshots: what a commit asks the catalog to do.

use std::collections::HashMap;

use iceberg::spec::{
    DataFile, FormatVersion, MAIN_BRANCH, ManifestContentType, ManifestFile, Operation, Snapshot, SnapshotRef,
    SnapshotReference, SnapshotRetention, Summary, TableMetadata,
};
use iceberg::{TableRequirement, TableUpdate};
use kit::nature;
use uuid::Uuid;

use crate::bucket::TenantBucket;
use crate::catalog::LoadedTable;
use crate::error::Result;
use crate::manifest::{self, ManifestFolder};
use crate::totals::Totals;
use crate::write::discard;

/// Manifests of one partition spec a snapshot may carry before they are merged into one. Every
/// append adds one, and every scan reads them all.
const MANIFESTS_BEFORE_MERGE: usize = 64;
/// Manifests from this size on are left as they are, bytes.
const MERGED_MANIFEST_BYTES: i64 = 8 * 1024 * 1024;

/// What travels in the same commit as the data.
#[derive(Debug, Clone, Default)]
pub struct Extra {
    /// Entries of the snapshot's summary. Counted entries (`added-records`, `total-…`) cannot be overridden.
    pub summary: HashMap<String, String>,
    /// Table properties to set.
    pub properties: HashMap<String, String>,
}

/// A commit ready to be sent. Its files are in the bucket already.
#[derive(Debug, Clone)]
pub struct Commit {
    pub requirements: Vec<TableRequirement>,
    pub updates: Vec<TableUpdate>,
    /// The snapshot the commit makes current.
    pub snapshot_id: i64,
    /// The table's identity and the place in its history that the snapshot takes.
    table: Uuid,
    sequence_number: i64,
    /// Manifests and the manifest list; worthless once the commit is refused.
    written: Vec<String>,
}

impl Commit {
    /// Whether another snapshot took this one's place in the table's history, so that it was refused
    /// and always will be. Only that proves it: a snapshot that is not in the table may have been
    /// there and have expired, and version 1 of the format numbers no places.
    pub fn is_overtaken_in(&self, table: &TableMetadata) -> bool {
        let taken = |snapshot: &SnapshotRef| {
            snapshot.sequence_number() == self.sequence_number && snapshot.snapshot_id() != self.snapshot_id
        };
        table.uuid() == self.table && self.sequence_number > 0 && table.snapshots().any(taken)
    }

    /// Deletes the manifests of a commit that was refused for certain. Data files stay: the next
    /// attempt commits the same ones.
    pub async fn discard(self, bucket: &TenantBucket) {
        discard(bucket, self.written).await;
    }
}

/// Adds files to the current snapshot of `main`.
pub async fn append(bucket: &TenantBucket, table: &LoadedTable, files: Vec<DataFile>, extra: Extra) -> Result<Commit> {
    produce(bucket, &table.metadata, files, extra, Operation::Append).await
}

/// Makes these files the whole content of `main`; what was there is marked as deleted.
/// No files at all empties the table.
pub async fn overwrite_all(
    bucket: &TenantBucket,
    table: &LoadedTable,
    files: Vec<DataFile>,
    extra: Extra,
) -> Result<Commit> {
    produce(bucket, &table.metadata, files, extra, Operation::Overwrite).await
}

async fn produce(
    bucket: &TenantBucket,
    table: &TableMetadata,
    files: Vec<DataFile>,
    extra: Extra,
    operation: Operation,
) -> Result<Commit> {
    let snapshot_id = fresh_snapshot_id(table);
    let mut folder = ManifestFolder::new(bucket, table, snapshot_id);
    let made = Draft { bucket, table, operation, files, summary: extra.summary }.write(&mut folder).await;
    let snapshot = match made {
        Ok(snapshot) => snapshot,
        Err(error) => {
            discard(bucket, folder.written).await;
            return Err(error);
        }
    };
    let retention = SnapshotRetention::branch(None, None, None);
    let mut updates = vec![
        TableUpdate::AddSnapshot { snapshot },
        TableUpdate::SetSnapshotRef {
            ref_name: MAIN_BRANCH.to_owned(),
            reference: SnapshotReference::new(snapshot_id, retention),
        },
    ];
    if !extra.properties.is_empty() {
        updates.push(TableUpdate::SetProperties { updates: extra.properties });
    }
    let requirements = vec![
        TableRequirement::UuidMatch { uuid: table.uuid() },
        TableRequirement::RefSnapshotIdMatch {
            r#ref: MAIN_BRANCH.to_owned(),
            snapshot_id: table.current_snapshot_id(),
        },
    ];
    let sequence_number = table.next_sequence_number();
    Ok(Commit { requirements, updates, snapshot_id, table: table.uuid(), sequence_number, written: folder.written })
}

struct Draft<'a> {
    bucket: &'a TenantBucket,
    table: &'a TableMetadata,
    operation: Operation,
    files: Vec<DataFile>,
    summary: HashMap<String, String>,
}

impl Draft<'_> {
    async fn write(self, folder: &mut ManifestFolder<'_>) -> Result<Snapshot> {
        let mut totals = Totals::after(self.table.current_snapshot().map(|snapshot| snapshot.summary()));
        let before = match self.table.current_snapshot() {
            Some(snapshot) => manifest::list(self.bucket, self.table, snapshot).await?,
            None => Vec::new(),
        };
        let mut manifests = match self.operation {
            Operation::Overwrite => remove_all(self.bucket, folder, before, &mut totals).await?,
            _ => merge_small(self.bucket, folder, before).await?,
        };
        self.files.iter().for_each(|file| totals.add(file));
        if !self.files.is_empty() {
            manifests.push(folder.added(self.files).await?);
        }
        let (manifest_list, next_row) = folder.list(manifests).await?;
        let mut properties = self.summary;
        totals.write(&mut properties);
        let summary = Summary { operation: self.operation, additional_properties: properties };
        Ok(snapshot(self.table, folder.snapshot(), manifest_list, summary, next_row))
    }
}

fn snapshot(
    table: &TableMetadata,
    id: i64,
    manifest_list: String,
    summary: Summary,
    next_row: Option<u64>,
) -> Snapshot {
    // A clock that lags behind the last writer's must not make the snapshot older than its parent.
    let built = Snapshot::builder()
        .with_snapshot_id(id)
        .with_parent_snapshot_id(table.current_snapshot_id())
        .with_sequence_number(table.next_sequence_number())
        .with_timestamp_ms(nature::now_ms().max(table.last_updated_ms()))
        .with_manifest_list(manifest_list)
        .with_summary(summary)
        .with_schema_id(table.current_schema_id());
    match next_row {
        Some(next) if table.format_version() >= FormatVersion::V3 => {
            let first = table.next_row_id();
            built.with_row_range(first, next.saturating_sub(first)).build()
        }
        _ => built.build(),
    }
}

fn fresh_snapshot_id(table: &TableMetadata) -> i64 {
    loop {
        // 63 bits: Iceberg's ids are positive.
        let id = (nature::random() >> 65) as i64;
        if id > 0 && table.snapshot_by_id(id).is_none() {
            return id;
        }
    }
}

/// Manifests that hold live files; the rest only tell of what earlier snapshots removed.
fn alive(manifests: Vec<ManifestFile>) -> Vec<ManifestFile> {
    manifests.into_iter().filter(|manifest| manifest.has_added_files() || manifest.has_existing_files()).collect()
}

async fn remove_all(
    bucket: &TenantBucket,
    folder: &mut ManifestFolder<'_>,
    before: Vec<ManifestFile>,
    totals: &mut Totals,
) -> Result<Vec<ManifestFile>> {
    let mut removed = Vec::new();
    for (manifest, entries) in manifest::live_entries(bucket, alive(before)).await? {
        if entries.is_empty() {
            continue;
        }
        entries.iter().for_each(|entry| totals.remove(entry.data_file()));
        removed.push(folder.removed(&manifest, &entries).await?);
    }
    totals.emptied();
    Ok(removed)
}

/// Keeps a long run of appends readable: many small data manifests become one per partition spec.
async fn merge_small(
    bucket: &TenantBucket,
    folder: &mut ManifestFolder<'_>,
    before: Vec<ManifestFile>,
) -> Result<Vec<ManifestFile>> {
    let before = alive(before);
    let small = |manifest: &ManifestFile| {
        manifest.content == ManifestContentType::Data && manifest.manifest_length < MERGED_MANIFEST_BYTES
    };
    // A merged manifest would lose the row ids version 3 gives to whole manifests.
    let mergeable =
        folder.merges() && before.iter().filter(|manifest| small(manifest)).count() >= MANIFESTS_BEFORE_MERGE;
    if !mergeable {
        return Ok(before);
    }
    let (small, mut kept): (Vec<_>, Vec<_>) = before.into_iter().partition(small);
    let mut by_spec: HashMap<i32, Vec<_>> = HashMap::new();
    for (manifest, entries) in manifest::live_entries(bucket, small).await? {
        by_spec.entry(manifest.partition_spec_id).or_default().extend(entries);
    }
    for (spec, entries) in by_spec {
        kept.push(folder.merged(spec, &entries).await?);
    }
    Ok(kept)
}
