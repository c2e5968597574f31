//! Manifests and manifest lists, read and written.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use iceberg::spec::{
    DataFile, FormatVersion, ManifestContentType, ManifestEntryRef, ManifestFile, ManifestList, ManifestListWriter,
    ManifestWriter, ManifestWriterBuilder, PartitionSpec, SnapshotRef, TableMetadata,
};
use uuid::Uuid;

use crate::bucket::TenantBucket;
use crate::error::{Error, Result};
use crate::untrusted;

/// Manifests read at the same time.
const READERS: usize = 8;

/// The manifests of a snapshot.
pub(crate) async fn list(
    bucket: &TenantBucket,
    table: &TableMetadata,
    snapshot: &SnapshotRef,
) -> Result<Vec<ManifestFile>> {
    if snapshot.encryption_key_id().is_some() {
        return Err(Error::Unsupported("encrypted tables"));
    }
    let bytes = bucket.get_up_to(snapshot.manifest_list(), untrusted::MANIFEST_BYTES).await?;
    untrusted::check_avro(&bytes)?;
    let list =
        untrusted::surviving(async { ManifestList::parse_with_version(&bytes, table.format_version()) }).await??;
    Ok(list.consume_entries().into_iter().collect())
}

/// The live entries of some manifests, each list in the order of its manifest.
pub(crate) async fn live_entries(
    bucket: &TenantBucket,
    manifests: Vec<ManifestFile>,
) -> Result<Vec<(Arc<ManifestFile>, Vec<ManifestEntryRef>)>> {
    let files = bucket.file_io();
    futures::stream::iter(manifests)
        .map(|manifest| {
            let files = files.clone();
            async move {
                let (entries, _) = untrusted::surviving(manifest.load_manifest(&files)).await??.into_parts();
                let live = entries.into_iter().filter(|entry| entry.is_alive()).collect();
                Ok::<_, Error>((Arc::new(manifest), live))
            }
        })
        .buffered(READERS)
        .try_collect()
        .await
}

/// Every file that some manifests name, live or not.
pub(crate) async fn named_files(bucket: &TenantBucket, manifests: Vec<ManifestFile>) -> Result<Vec<String>> {
    let files = bucket.file_io();
    let named: Vec<Vec<String>> = futures::stream::iter(manifests)
        .map(|manifest| {
            let files = files.clone();
            async move {
                let (entries, _) = untrusted::surviving(manifest.load_manifest(&files)).await??.into_parts();
                Ok::<_, Error>(entries.iter().map(|entry| entry.file_path().to_owned()).collect())
            }
        })
        .buffered(READERS)
        .try_collect()
        .await?;
    Ok(named.into_iter().flatten().collect())
}

/// Writes one snapshot's manifests; remembers what it wrote, so that a lost race leaves no litter.
pub(crate) struct ManifestFolder<'a> {
    bucket: &'a TenantBucket,
    table: &'a TableMetadata,
    commit: Uuid,
    snapshot: i64,
    pub(crate) written: Vec<String>,
}

impl<'a> ManifestFolder<'a> {
    pub(crate) fn new(bucket: &'a TenantBucket, table: &'a TableMetadata, snapshot: i64) -> Self {
        Self { bucket, table, commit: kit::nature::uuid(), snapshot, written: Vec::new() }
    }

    pub(crate) fn snapshot(&self) -> i64 {
        self.snapshot
    }

    /// Whether manifests of this table may be merged: version 3 gives row ids to whole manifests.
    pub(crate) fn merges(&self) -> bool {
        self.table.format_version() < FormatVersion::V3
    }

    fn location(&self, file: &str) -> String {
        format!("{}/metadata/{file}", self.table.location().trim_end_matches('/'))
    }

    fn writer(&mut self, spec: &PartitionSpec, content: ManifestContentType) -> Result<ManifestWriter> {
        let location = self.location(&format!("{}-m{}.avro", self.commit, self.written.len()));
        let output = self.bucket.file_io().new_output(&location)?;
        self.written.push(location);
        let builder =
            ManifestWriterBuilder::new(output, Some(self.snapshot), self.table.current_schema().clone(), spec.clone());
        match (self.table.format_version(), content) {
            (FormatVersion::V1, _) => Err(Error::Unsupported("writing into a table of format version 1")),
            (FormatVersion::V2, ManifestContentType::Data) => Ok(builder.build_v2_data()),
            (FormatVersion::V2, ManifestContentType::Deletes) => Ok(builder.build_v2_deletes()),
            (FormatVersion::V3, ManifestContentType::Data) => Ok(builder.build_v3_data()),
            (FormatVersion::V3, ManifestContentType::Deletes) => Ok(builder.build_v3_deletes()),
        }
    }

    fn spec(&self, id: i32) -> Result<PartitionSpec> {
        let spec =
            self.table.partition_spec_by_id(id).ok_or(Error::Unsupported("a manifest of an unknown partition spec"))?;
        Ok(spec.as_ref().clone())
    }

    /// A manifest of files that are new.
    pub(crate) async fn added(&mut self, files: Vec<DataFile>) -> Result<ManifestFile> {
        let spec = self.spec(self.table.default_partition_spec_id())?;
        let mut writer = self.writer(&spec, ManifestContentType::Data)?;
        for file in files {
            // A negative number means: inherited from the commit.
            writer.add_file(file, -1)?;
        }
        Ok(writer.write_manifest_file().await?)
    }

    /// A manifest that says of each of these files that it is gone.
    pub(crate) async fn removed(
        &mut self,
        manifest: &ManifestFile,
        entries: &[ManifestEntryRef],
    ) -> Result<ManifestFile> {
        let spec = self.spec(manifest.partition_spec_id)?;
        let mut writer = self.writer(&spec, manifest.content)?;
        for entry in entries {
            writer.add_delete_file(entry.data_file().clone(), sequence(entry)?, entry.file_sequence_number)?;
        }
        Ok(writer.write_manifest_file().await?)
    }

    /// One manifest in place of several: the same files, with the snapshot and sequence they came with.
    pub(crate) async fn merged(&mut self, spec: i32, entries: &[ManifestEntryRef]) -> Result<ManifestFile> {
        let spec = self.spec(spec)?;
        let mut writer = self.writer(&spec, ManifestContentType::Data)?;
        for entry in entries {
            let snapshot = entry.snapshot_id().ok_or(Error::Unsupported("a manifest entry without its snapshot"))?;
            writer.add_existing_file(
                entry.data_file().clone(),
                snapshot,
                sequence(entry)?,
                entry.file_sequence_number,
            )?;
        }
        Ok(writer.write_manifest_file().await?)
    }

    /// The manifest list. Returns its location and, for format version 3, the next row id.
    pub(crate) async fn list(&mut self, manifests: Vec<ManifestFile>) -> Result<(String, Option<u64>)> {
        let location = self.location(&format!("snap-{}-0-{}.avro", self.snapshot, self.commit));
        let output = self.bucket.file_io().new_output(&location)?.writer().await?;
        self.written.push(location.clone());
        let (parent, sequence) = (self.table.current_snapshot_id(), self.table.next_sequence_number());
        let mut writer = match self.table.format_version() {
            FormatVersion::V1 => return Err(Error::Unsupported("writing into a table of format version 1")),
            FormatVersion::V2 => ManifestListWriter::v2(output, self.snapshot, parent, sequence),
            FormatVersion::V3 => {
                ManifestListWriter::v3(output, self.snapshot, parent, sequence, Some(self.table.next_row_id()))
            }
        };
        writer.add_manifests(manifests.into_iter())?;
        let next_row = writer.next_row_id();
        writer.close().await?;
        Ok((location, next_row))
    }
}

fn sequence(entry: &ManifestEntryRef) -> Result<i64> {
    entry.sequence_number().ok_or(Error::Unsupported("a manifest entry without its sequence number"))
}
