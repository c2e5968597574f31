//! Files as anybody may upload them: read, or refused as the caller's fault, and nothing worse.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use testkit::hostile;

use super::intake::{read_as, source};
use crate::config::Settings;
use crate::domain::Format;

fn parquet(compression: Compression) -> Vec<u8> {
    let batch = RecordBatch::try_from_iter([
        ("id", Arc::new(Int64Array::from_iter_values(0..300)) as _),
        ("name", Arc::new(StringArray::from_iter_values((0..300).map(|n| format!("name {}", n % 7)))) as _),
    ])
    .unwrap();
    let properties = WriterProperties::builder().set_compression(compression).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

/// Every spoilt file in a task of its own, so that a panic is seen; how many were refused.
async fn refused(format: Format, good: &[&[u8]], count: usize) -> usize {
    let settings = Settings { sample_bytes: 2_000, row_bytes: 10_000, row_group_bytes: 1 << 20, ..Settings::default() };
    let mut refused = 0;
    for bytes in hostile(good, count) {
        let settings = settings.clone();
        let told = bytes.clone();
        let read = tokio::spawn(async move { read_as(&source(format, bytes).await, &settings).await });
        match read.await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                assert!(error.is_inputs(), "{error:?} is nobody's fault: {told:?}");
                refused += 1;
            }
            Err(died) => panic!("a {format:?} file ended its reader: {died}\n{told:?}"),
        }
    }
    refused
}

#[tokio::test]
async fn spoilt_text_is_read_or_refused() {
    let csv = "id,name,at\n1,\"a \"\"b\"\"\",2013-01-01T10:00:00Z\n2,,NA\n3,ü,2013-01-02T10:00:00Z\n";
    assert!(refused(Format::Csv, &[csv.as_bytes()], 2_000).await > 200);
    let json = r#"{"id":1,"name":"a","deep":{"x":[1,2]}}
{"id":2.5,"name":null}
"#;
    assert!(refused(Format::Ndjson, &[json.as_bytes()], 2_000).await > 200);
}

#[tokio::test]
async fn spoilt_parquet_is_read_or_refused() {
    let (plain, packed) = (parquet(Compression::UNCOMPRESSED), parquet(Compression::ZSTD(Default::default())));
    assert!(refused(Format::Parquet, &[&plain, &packed], 1_200).await > 300);
}
