//! The write path and the scan against a store in memory.

mod hostile;
mod values;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Array, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema};
use bytes::Bytes;
use contracts::TenantId;
use futures::stream;
use iceberg::spec::{
    DataFile, FormatVersion, Operation, PrimitiveLiteral, SortOrder, TableMetadata, TableMetadataBuilder,
    UnboundPartitionSpec,
};
use object_store::memory::InMemory;

use crate::bucket::Put;
use crate::snapshot::{Commit, Extra};
use crate::write::{WriteOptions, Written};
use crate::{Bucket, Error, LoadedTable, TenantBucket, scan, schema, snapshot, write};

fn bucket() -> Bucket {
    Bucket::over(Arc::new(InMemory::new()), "warehouse")
}

fn acme(bucket: &Bucket) -> TenantBucket {
    bucket.tenant(&TenantId::new("acme").unwrap())
}

fn columns() -> ArrowSchema {
    ArrowSchema::new(vec![
        Field::new("carrier", DataType::Utf8, false),
        Field::new("delay", DataType::Float64, true),
        Field::new("flight", DataType::Int32, true),
    ])
}

fn rows(from: i32, count: i32) -> RecordBatch {
    let carrier: StringArray = (from..from + count).map(|n| Some(format!("c{n:06}"))).collect();
    let delay: Float64Array = (from..from + count).map(|n| (n % 2 == 0).then_some(f64::from(n))).collect();
    let flight: Int32Array = (from..from + count).map(Some).collect();
    RecordBatch::try_new(Arc::new(columns()), vec![Arc::new(carrier) as ArrayRef, Arc::new(delay), Arc::new(flight)])
        .unwrap()
}

fn table(bucket: &TenantBucket) -> LoadedTable {
    table_of(bucket, FormatVersion::V2)
}

fn table_of(bucket: &TenantBucket, version: FormatVersion) -> LoadedTable {
    let schema = schema::from_arrow(&columns()).unwrap();
    let location = bucket.location("iceberg/streams/flights-1");
    let metadata = TableMetadataBuilder::new(
        schema,
        UnboundPartitionSpec::default(),
        SortOrder::unsorted_order(),
        location,
        version,
        HashMap::new(),
    )
    .unwrap()
    .build()
    .unwrap()
    .metadata;
    loaded(metadata)
}

fn loaded(metadata: TableMetadata) -> LoadedTable {
    LoadedTable {
        name: "streams.flights".parse().unwrap(),
        metadata: Arc::new(metadata),
        metadata_location: "s3://warehouse/t/acme/iceberg/streams/flights-1/metadata/0.json".to_owned(),
        config: HashMap::new(),
    }
}

/// What a catalog does with a commit.
fn apply(table: &LoadedTable, commit: &Commit) -> Result<LoadedTable, iceberg::Error> {
    for requirement in &commit.requirements {
        requirement.check(Some(&table.metadata))?;
    }
    let mut builder = TableMetadata::clone(&table.metadata).into_builder(Some(table.metadata_location.clone()));
    for update in commit.updates.clone() {
        builder = update.apply(builder)?;
    }
    Ok(loaded(builder.build()?.metadata))
}

async fn written(bucket: &TenantBucket, table: &LoadedTable, batch: RecordBatch) -> Written {
    let rows = stream::iter([Ok::<_, Error>(batch)]);
    write::write_parquet(bucket, &table.metadata, rows, &WriteOptions::default()).await.unwrap()
}

async fn appended(bucket: &TenantBucket, table: &LoadedTable, files: Vec<DataFile>) -> LoadedTable {
    let commit = snapshot::append(bucket, table, files, Extra::default()).await.unwrap();
    apply(table, &commit).unwrap()
}

fn summary<'a>(table: &'a LoadedTable, name: &str) -> Option<&'a str> {
    table.metadata.current_snapshot().unwrap().summary().additional_properties.get(name).map(String::as_str)
}

async fn objects(bucket: &TenantBucket) -> usize {
    use futures::StreamExt;
    bucket.store().list(None).count().await
}

#[tokio::test]
async fn rows_come_back_as_files_with_statistics() {
    let bucket = acme(&bucket());
    let table = table(&bucket);
    let made = written(&bucket, &table, rows(0, 40_000)).await;
    assert_eq!((made.rows, made.files.len()), (40_000, 1));
    let table = appended(&bucket, &table, made.files).await;
    let files = scan::files(&bucket, &table.metadata, None).await.unwrap();
    assert_eq!(files.len(), 1);
    let file = &files[0];
    assert_eq!((file.rows(), file.nulls(2), file.nulls(1)), (40_000, Some(20_000), Some(0)));
    assert_eq!(file.lower(3).unwrap().literal(), &PrimitiveLiteral::Int(0));
    assert_eq!(file.upper(3).unwrap().literal(), &PrimitiveLiteral::Int(39_999));
    assert_eq!(file.lower(1).unwrap().literal(), &PrimitiveLiteral::String("c000000".into()));
    assert!(file.column_bytes(1).unwrap() > 0 && !file.split_offsets().is_empty());
    assert!(file.path.as_ref().starts_with("t/acme/iceberg/streams/flights-1/data/"));
    let size = bucket.get(file.data_file().file_path()).await.unwrap().len() as u64;
    assert_eq!(file.size(), size);
}

#[tokio::test]
async fn parquet_carries_the_field_ids_and_the_values() {
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    let bucket = acme(&bucket());
    let table = table(&bucket);
    let made = written(&bucket, &table, rows(7, 10)).await;
    let bytes = bucket.get(made.files[0].file_path()).await.unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
    let ids: Vec<i32> =
        reader.parquet_schema().root_schema().get_fields().iter().map(|field| field.get_basic_info().id()).collect();
    assert_eq!(ids, [1, 2, 3]);
    let read: Vec<RecordBatch> = reader.build().unwrap().map(Result::unwrap).collect();
    assert_eq!(read[0].num_rows(), 10);
    assert_eq!(read[0].column(0).as_any().downcast_ref::<StringArray>().unwrap().value(0), "c000007");
}

#[tokio::test]
async fn totals_grow_with_appends_and_restart_with_an_overwrite() {
    let bucket = acme(&bucket());
    let mut table = table(&bucket);
    for n in 0..3 {
        let made = written(&bucket, &table, rows(n * 100, 100)).await;
        table = appended(&bucket, &table, made.files).await;
    }
    assert_eq!(summary(&table, "total-records"), Some("300"));
    assert_eq!((summary(&table, "added-records"), summary(&table, "total-data-files")), (Some("100"), Some("3")));
    let made = written(&bucket, &table, rows(0, 5)).await;
    let commit = snapshot::overwrite_all(&bucket, &table, made.files, Extra::default()).await.unwrap();
    let table = apply(&table, &commit).unwrap();
    assert_eq!(table.metadata.current_snapshot().unwrap().summary().operation, Operation::Overwrite);
    assert_eq!((summary(&table, "deleted-records"), summary(&table, "total-records")), (Some("300"), Some("5")));
    assert_eq!((summary(&table, "deleted-data-files"), summary(&table, "total-data-files")), (Some("3"), Some("1")));
    let files = scan::files(&bucket, &table.metadata, None).await.unwrap();
    assert_eq!((files.len(), files[0].rows()), (1, 5));
    let first = table.metadata.history().first().unwrap().snapshot_id;
    assert_eq!(
        scan::files(&bucket, &table.metadata, Some(first)).await.unwrap()[0].rows(),
        100,
        "history stays readable"
    );
}

#[tokio::test]
async fn a_table_of_version_3_gets_its_row_ids() {
    let bucket = acme(&bucket());
    let mut table = table_of(&bucket, FormatVersion::V3);
    for n in 0..3 {
        let made = written(&bucket, &table, rows(n * 10, 10)).await;
        table = appended(&bucket, &table, made.files).await;
    }
    assert_eq!(table.metadata.next_row_id(), 30);
    assert_eq!(table.metadata.current_snapshot().unwrap().row_range(), Some((20, 10)));
    let commit = snapshot::overwrite_all(&bucket, &table, Vec::new(), Extra::default()).await.unwrap();
    let table = apply(&table, &commit).unwrap();
    assert!(scan::files(&bucket, &table.metadata, None).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_overwrite_with_nothing_empties_the_table() {
    let bucket = acme(&bucket());
    let table = table(&bucket);
    let made = written(&bucket, &table, rows(0, 10)).await;
    let table = appended(&bucket, &table, made.files).await;
    let commit = snapshot::overwrite_all(&bucket, &table, Vec::new(), Extra::default()).await.unwrap();
    let table = apply(&table, &commit).unwrap();
    assert_eq!(summary(&table, "total-records"), Some("0"));
    assert!(scan::files(&bucket, &table.metadata, None).await.unwrap().is_empty());
}

#[tokio::test]
async fn many_appends_are_merged_into_few_manifests() {
    let bucket = acme(&bucket());
    let mut table = table(&bucket);
    for n in 0..70 {
        let made = written(&bucket, &table, rows(n, 1)).await;
        table = appended(&bucket, &table, made.files).await;
    }
    let current = table.metadata.current_snapshot().unwrap().clone();
    let manifests = crate::manifest::list(&bucket, &table.metadata, &current).await.unwrap();
    assert!(manifests.len() < 10, "{} manifests", manifests.len());
    let files = scan::files(&bucket, &table.metadata, None).await.unwrap();
    assert_eq!((files.len(), files.iter().map(scan::ScanFile::rows).sum::<u64>()), (70, 70));
    assert_eq!(summary(&table, "total-records"), Some("70"));
}

#[tokio::test]
async fn offsets_travel_in_the_commit_and_the_loser_of_a_race_is_refused() {
    let bucket = acme(&bucket());
    let start = table(&bucket);
    let offsets = r#"{"streaming.record.accepted.v1":{"0":41}}"#;
    let extra = || Extra {
        summary: HashMap::from([
            ("cytoplane.sink.offsets".to_owned(), offsets.to_owned()),
            ("total-records".to_owned(), "9".to_owned()),
        ]),
        properties: HashMap::from([("cytoplane.sink.offsets".to_owned(), offsets.to_owned())]),
    };
    let made = written(&bucket, &start, rows(0, 3)).await;
    let one = snapshot::append(&bucket, &start, made.files.clone(), extra()).await.unwrap();
    let two = snapshot::append(&bucket, &start, made.files, extra()).await.unwrap();
    let after = apply(&start, &one).unwrap();
    assert_eq!(after.metadata.properties().get("cytoplane.sink.offsets").unwrap(), offsets);
    assert_eq!(summary(&after, "cytoplane.sink.offsets"), Some(offsets));
    assert_eq!(summary(&after, "total-records"), Some("3"), "a counted entry cannot be overridden");
    assert!(apply(&after, &two).is_err());
    let before = objects(&bucket).await;
    two.discard(&bucket).await;
    assert_eq!(objects(&bucket).await, before - 2, "one manifest and one list are gone, the data file stays");
}

#[tokio::test]
async fn files_roll_and_a_failed_input_leaves_nothing() {
    let bucket = acme(&bucket());
    let table = table(&bucket);
    let options = WriteOptions { file_rows: 16 * 1024, ..WriteOptions::default() };
    let batches = stream::iter([Ok::<_, Error>(rows(0, 40_000))]);
    let made = write::write_parquet(&bucket, &table.metadata, batches, &options).await.unwrap();
    assert_eq!(made.files.iter().map(DataFile::record_count).collect::<Vec<_>>(), [16_384, 16_384, 7_232]);
    made.discard(&bucket).await;
    assert_eq!(objects(&bucket).await, 0);
    let broken = stream::iter([Ok(rows(0, 20_000)), Err(Error::Unsupported("a broken wire"))]);
    assert!(matches!(write::write_parquet(&bucket, &table.metadata, broken, &options).await, Err(Error::Input(_))));
    assert_eq!(objects(&bucket).await, 0);
}

#[test]
fn columns_are_matched_by_name_and_never_dropped() {
    let target = schema::to_arrow(&schema::from_arrow(&columns()).unwrap()).unwrap();
    let narrow =
        RecordBatch::try_from_iter([("carrier", Arc::new(StringArray::from(vec!["AA"])) as ArrayRef)]).unwrap();
    let full = schema::conform(&narrow, &target).unwrap();
    assert_eq!((full.num_columns(), full.column(1).null_count()), (3, 1));
    let stray = RecordBatch::try_from_iter([("stray", Arc::new(Int32Array::from(vec![1])) as ArrayRef)]).unwrap();
    assert!(matches!(schema::conform(&stray, &target), Err(Error::Schema(_))));
    let missing = RecordBatch::try_from_iter([("flight", Arc::new(Int32Array::from(vec![1])) as ArrayRef)]).unwrap();
    assert!(matches!(schema::conform(&missing, &target), Err(Error::Schema(_))), "carrier is required");
    let wrong = RecordBatch::try_from_iter([
        ("carrier", Arc::new(StringArray::from(vec!["AA"])) as ArrayRef),
        ("flight", Arc::new(StringArray::from(vec!["not a number"]))),
    ])
    .unwrap();
    assert!(matches!(schema::conform(&wrong, &target), Err(Error::Schema(_))));
}

#[test]
fn a_location_cannot_leave_the_tenant() {
    let acme = acme(&bucket());
    for bad in [
        "s3://warehouse/t/globex/x",
        "s3://warehouse/t/acme/../globex/x",
        "s3://warehouse/t/acme",
        "s3://warehouse/t/acme/",
        "s3://warehouse/t/acmeX/x",
        "s3://other/t/acme/x",
        "s3://warehouse/t/acme//x",
        "file:///etc/passwd",
        "t/acme/x",
    ] {
        assert!(matches!(acme.path_of(bad), Err(Error::Outside)), "{bad}");
    }
    assert_eq!(acme.path_of(&acme.location("a/b=1/c.parquet")).unwrap().as_ref(), "t/acme/a/b=1/c.parquet");
}

#[tokio::test]
async fn a_manifest_that_names_another_tenants_file_is_refused() {
    let bucket = bucket();
    let (acme, globex) = (acme(&bucket), bucket.tenant(&TenantId::new("globex").unwrap()));
    let mine = table(&acme);
    let theirs = loaded(
        TableMetadata::clone(&mine.metadata)
            .into_builder(None)
            .set_location(globex.location("iceberg/x/y"))
            .build()
            .unwrap()
            .metadata,
    );
    let made = written(&globex, &theirs, rows(0, 3)).await;
    let stolen = appended(&acme, &mine, made.files).await;
    assert!(matches!(scan::files(&acme, &stolen.metadata, None).await, Err(Error::Outside)));
}

#[tokio::test]
async fn conditional_puts_have_one_winner() {
    let bucket = bucket();
    bucket.probe().await.unwrap();
    let acme = acme(&bucket);
    assert_eq!(objects(&acme).await, 0, "the probe cleans up");
    let at = acme.location("x");
    let Put::Done(Some(etag)) = acme.put_if_absent(&at, Bytes::from_static(b"1")).await.unwrap() else {
        panic!("no etag")
    };
    assert_eq!(acme.put_if_absent(&at, Bytes::from_static(b"2")).await.unwrap(), Put::Refused);
    assert!(matches!(acme.put_if_match(&at, &etag, Bytes::from_static(b"3")).await.unwrap(), Put::Done(_)));
    assert_eq!(acme.put_if_match(&at, &etag, Bytes::from_static(b"4")).await.unwrap(), Put::Refused);
    assert_eq!(acme.put_if_match(&acme.location("none"), &etag, Bytes::from_static(b"5")).await.unwrap(), Put::Refused);
}

#[tokio::test]
async fn an_upload_is_whole_or_absent() {
    let acme = acme(&bucket());
    let parts = || (0..40).map(|_| Ok::<_, Error>(Bytes::from(vec![7_u8; 1024 * 1024])));
    assert_eq!(acme.upload(&acme.location("big"), stream::iter(parts())).await.unwrap(), 40 * 1024 * 1024);
    assert_eq!(acme.get(&acme.location("big")).await.unwrap().len(), 40 * 1024 * 1024);
    let broken = stream::iter(parts().chain([Err(Error::Unsupported("a broken wire"))]));
    assert!(acme.upload(&acme.location("half"), broken).await.is_err());
    assert!(acme.get(&acme.location("half")).await.is_err_and(|error| error.is_not_found()));
}

/// Every future of the write path can run in a spawned task; it does not compile otherwise.
#[allow(dead_code)]
fn the_write_path_can_be_spawned(
    catalog: crate::Catalog,
    scope: kit::Scope,
    bucket: TenantBucket,
    table: LoadedTable,
    batch: RecordBatch,
) {
    fn spawnable<T: Send + 'static>(_: T) {}
    spawnable(async move {
        let mut writer = write::TableWriter::new(&bucket, &table.metadata, WriteOptions::default())?;
        writer.write(&batch).await?;
        writer.finish().await?;
        let rows = stream::iter([Ok::<_, Error>(batch)]);
        let made = write::write_parquet(&bucket, &table.metadata, rows, &WriteOptions::default()).await?;
        let committed = crate::retry::retry_commit(&catalog, &scope, &bucket, &table.name, 4, |table| {
            let (bucket, files) = (bucket.clone(), made.files.clone());
            async move { snapshot::append(&bucket, &table, files, Extra::default()).await.map(Some) }
        })
        .await?;
        scan::files(&bucket, &committed.table.metadata, None).await?;
        bucket.upload("x", stream::iter([Ok::<_, Error>(Bytes::new())])).await
    });
}
