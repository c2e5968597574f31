use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int64Type};
use bytes::Bytes;
use contracts::TenantId;
use futures::TryStreamExt;
use lakehouse::Bucket;
use object_store::memory::InMemory;

use crate::config::Settings;
use crate::domain::{Column, ColumnKind, Format};
use crate::error::Error;
use crate::intake::{self, Dialect, Shape, Source};
use crate::ops::encode::Encoder;

pub async fn source(format: Format, bytes: impl Into<Bytes>) -> Source {
    let bytes = bytes.into();
    let bucket = Bucket::over(Arc::new(InMemory::new()), "b").tenant(&TenantId::new("acme").unwrap());
    let location = bucket.location("datasets/x");
    let length = bytes.len() as u64;
    bucket.put(&location, bytes).await.unwrap();
    let object = bucket.path_of(&location).unwrap();
    Source { bucket, object, bytes: length, name: "file".into(), format }
}

pub async fn read_as(source: &Source, settings: &Settings) -> Result<(Vec<Column>, Vec<RecordBatch>), Error> {
    let dialect = Dialect::default();
    let columns = match intake::infer(source, &dialect, settings).await? {
        Shape::Columns(columns) => columns,
        Shape::Arrow(_) => Vec::new(),
    };
    let batches = intake::rows(source, &columns, &dialect, settings).await?.try_collect().await?;
    Ok((columns, batches))
}

async fn csv(text: &str) -> Result<(Vec<Column>, Vec<RecordBatch>), Error> {
    read_as(&source(Format::Csv, text.to_owned()).await, &Settings::default()).await
}

async fn ndjson(text: &str) -> Result<(Vec<Column>, Vec<RecordBatch>), Error> {
    read_as(&source(Format::Ndjson, text.to_owned()).await, &Settings::default()).await
}

fn kinds(columns: &[Column]) -> Vec<(&str, ColumnKind)> {
    columns.iter().map(|c| (c.name.as_str(), c.kind)).collect()
}

fn rows(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::num_rows).sum()
}

#[tokio::test]
async fn csv_as_r_writes_it() {
    let (columns, batches) =
        csv("\u{feff}carrier,delay,when,ok\r\nUA,2,2013-01-01T10:00:00Z,TRUE\r\n\"A,\"\"A\",NA,,\r\n").await.unwrap();
    let expected = [
        ("carrier", ColumnKind::String),
        ("delay", ColumnKind::Int64),
        ("when", ColumnKind::Timestamptz),
        ("ok", ColumnKind::Boolean),
    ];
    assert_eq!(kinds(&columns), expected);
    let batch = &batches[0];
    assert_eq!(batch.column(0).as_string::<i32>().value(1), "A,\"A");
    assert!(batch.column(1).is_null(1) && batch.column(2).is_null(1) && batch.column(3).is_null(1));
    assert_eq!(batch.column(1).as_primitive::<Int64Type>().value(0), 2);
}

#[tokio::test]
async fn a_header_alone_and_a_missing_last_line_end_are_files_too() {
    let (columns, batches) = csv("a,b\n").await.unwrap();
    assert_eq!((columns.len(), rows(&batches)), (2, 0));
    assert_eq!(rows(&csv("a,b\n1,2").await.unwrap().1), 1);
}

#[tokio::test]
async fn a_value_that_does_not_fit_later_is_named_by_row_and_column() {
    let mut text = "id,delay\n".to_owned();
    (1..=5_000).for_each(|n| text.push_str(&format!("{n},{n}\n")));
    text.push_str("5001,late\n");
    let settings = Settings { sample_bytes: 20_000, ..Settings::default() };
    let error = read_as(&source(Format::Csv, text).await, &settings).await.unwrap_err();
    let Error::Misfit(misfit) = &error else { panic!("{error}") };
    assert_eq!(
        (misfit.row, misfit.column.as_str(), misfit.expected, misfit.value.as_str()),
        (5_001, "delay", "int64", "late")
    );
    assert!(error.is_inputs());
    assert_eq!(error.to_string(), "file, row 5001, column 'delay': 'late' is not int64");
}

#[tokio::test]
async fn a_sample_may_end_anywhere_in_a_row() {
    let file = source(Format::Csv, "a,b,c\n1,\"x,\n\",2013-01-01\n2,y,2013-01-02\n").await;
    for sample_bytes in 7..=file.bytes {
        let settings = Settings { sample_bytes, ..Settings::default() };
        let Shape::Columns(columns) = intake::infer(&file, &Dialect::default(), &settings).await.unwrap() else {
            panic!()
        };
        assert_eq!(columns.len(), 3, "{sample_bytes}");
    }
}

#[tokio::test]
async fn hostile_csv_is_refused_with_a_reason_and_never_guessed_at() {
    for (text, part) in [
        ("", "no column"),
        ("a,a\n1,2\n", "two columns"),
        ("a,A\n1,2\n", "two columns"),
        ("a,\n1,2\n", "has no name"),
        ("a,b\n1\n", "incorrect number of fields"),
        ("a,b\n1,2,3\n", "incorrect number of fields"),
    ] {
        let error = csv(text).await.unwrap_err();
        assert!(error.to_string().contains(part), "{text:?}: {error}");
        assert!(error.is_inputs());
    }
    let binary = source(Format::Csv, Bytes::from_static(b"a,b\n\xff\xfe,2\n")).await;
    assert!(read_as(&binary, &Settings::default()).await.unwrap_err().is_inputs());
}

#[tokio::test]
async fn an_unclosed_quote_does_not_swallow_memory() {
    let mut text = b"a,b\n1,\"".to_vec();
    text.resize(66 << 20, b'x');
    let endless = source(Format::Csv, text).await;
    let columns = [("a", ColumnKind::String), ("b", ColumnKind::String)].map(|(name, kind)| Column {
        name: name.into(),
        kind,
        nullable: true,
    });
    let read = intake::rows(&endless, &columns, &Dialect::default(), &Settings::default()).await.unwrap();
    let error = read.try_collect::<Vec<_>>().await.unwrap_err();
    assert!(error.to_string().contains("quote"), "{error}");
}

#[tokio::test]
async fn columns_are_matched_by_name_not_by_place() {
    let file = source(Format::Csv, "b,a\nx,1.5\n").await;
    let column = |name: &str, kind, nullable| Column { name: name.into(), kind, nullable };
    let columns = [column("a", ColumnKind::Float64, true), column("b", ColumnKind::String, true)];
    let read = intake::rows(&file, &columns, &Dialect::default(), &Settings::default()).await.unwrap();
    let batches: Vec<RecordBatch> = read.try_collect().await.unwrap();
    assert_eq!(batches[0].column_by_name("a").unwrap().as_primitive::<Float64Type>().value(0), 1.5);

    let stray = [column("a", ColumnKind::Float64, true)];
    assert!(matches!(
        intake::rows(&file, &stray, &Dialect::default(), &Settings::default()).await,
        Err(Error::Schema(_))
    ));
    let missing = [columns[0].clone(), columns[1].clone(), column("c", ColumnKind::String, false)];
    assert!(matches!(
        intake::rows(&file, &missing, &Dialect::default(), &Settings::default()).await,
        Err(Error::Schema(_))
    ));
}

#[tokio::test]
async fn ndjson_rows_may_lack_members_and_nested_values_are_kept_as_text() {
    let text = "{\"a\":1,\"t\":\"2013-01-01\"}\n\n{\"b\":[1,{\"x\":null}],\"a\":null}\r\n{\"a\":3}";
    let (columns, batches) = ndjson(text).await.unwrap();
    assert_eq!(kinds(&columns), [("a", ColumnKind::Int64), ("t", ColumnKind::Date), ("b", ColumnKind::String)]);
    assert_eq!(rows(&batches), 3);
    assert_eq!(batches[0].column(2).as_string::<i32>().value(1), "[1,{\"x\":null}]");
}

#[tokio::test]
async fn hostile_ndjson_is_refused_by_row() {
    for (text, part) in [
        ("{\"a\":1}\n[1]\n", "row 2 is not a JSON object"),
        ("{\"a\":1}\n{\"a\":\n", "row 2 is not JSON"),
        ("{}\n", "no column"),
        ("\n\n", "no column"),
    ] {
        let error = ndjson(text).await.unwrap_err();
        assert!(error.to_string().contains(part), "{text:?}: {error}");
    }
    let deep = format!("{{\"a\":{}}}\n", "[".repeat(100_000));
    assert!(ndjson(&deep).await.unwrap_err().is_inputs());
}

#[tokio::test]
async fn a_late_stray_member_and_an_endless_row_are_refused() {
    let settings = Settings { sample_bytes: 16, row_bytes: 64, ..Settings::default() };
    let stray = source(Format::Ndjson, "{\"a\":1}\n{\"a\":2}\n{\"a\":3,\"zz\":4}\n").await;
    let error = read_as(&stray, &settings).await.unwrap_err();
    assert!(error.to_string().contains("row 3") && error.to_string().contains("zz"), "{error}");
    let endless = source(Format::Ndjson, format!("{{\"a\":1}}\n{{\"a\":\"{}\"}}\n", "x".repeat(100))).await;
    assert!(read_as(&endless, &settings).await.unwrap_err().to_string().contains("longer than 64 bytes"));
}

#[tokio::test]
async fn what_is_downloaded_can_be_uploaded_again() {
    let (_, batches) = csv("a,b,when\n1,x,2013-01-01 05:00:00\n,\"y,\n\",\n").await.unwrap();
    for format in [Format::Csv, Format::Ndjson, Format::Parquet] {
        let mut encoder = Encoder::new(format, &batches[0].schema()).unwrap();
        let mut bytes = Vec::new();
        for batch in &batches {
            bytes.extend(encoder.encode(batch).unwrap());
        }
        bytes.extend(encoder.finish().unwrap());
        let again = read_as(&source(format, bytes).await, &Settings::default()).await.unwrap().1;
        let columns = |batches: &[RecordBatch]| batches[0].columns().to_vec();
        assert_eq!(columns(&again), columns(&batches), "{format:?}");
    }
}

#[tokio::test]
async fn what_only_claims_to_be_parquet_is_refused() {
    for bytes in [&b"PAR1"[..], b"", b"not parquet at all, but longer than a footer", b"PAR1\xff\xff\xff\x7fPAR1"] {
        let error =
            read_as(&source(Format::Parquet, Bytes::from_static(bytes)).await, &Settings::default()).await.unwrap_err();
        assert!(error.is_inputs(), "{error}");
    }
}

#[test]
fn an_empty_download_still_has_its_header() {
    let schema = Arc::new(crate::domain::column::arrow_schema(&[Column {
        name: "a".into(),
        kind: ColumnKind::Int64,
        nullable: true,
    }]));
    assert_eq!(Encoder::new(Format::Csv, &schema).unwrap().finish().unwrap(), b"a\n");
    assert!(!Encoder::new(Format::Parquet, &schema).unwrap().finish().unwrap().is_empty());
}

#[tokio::test]
async fn a_column_that_stands_there_twice_is_refused_also_where_columns_are_known() {
    let known = [Column { name: "a".into(), kind: ColumnKind::Int64, nullable: true }];
    let file = source(Format::Csv, "a,a\n1,2\n").await;
    let read = intake::rows(&file, &known, &Dialect::default(), &Settings::default()).await;
    assert!(matches!(read.err(), Some(Error::Columns { .. })));
}

fn parquet_file(row: &str, rows: usize) -> Bytes {
    let texts = arrow::array::StringArray::from_iter_values((0..rows).map(|n| format!("{n}{row}")));
    let batch = RecordBatch::try_from_iter([("a", Arc::new(texts) as _)]).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap().into()
}

#[tokio::test]
async fn long_rows_of_parquet_come_in_short_batches() {
    for (row, expected) in [("x", 500), (&*"x".repeat(1 << 20), 16)] {
        let file = source(Format::Parquet, parquet_file(row, 500.min(expected * 3))).await;
        let (_, batches) = read_as(&file, &Settings::default()).await.unwrap();
        assert!(batches[0].num_rows().abs_diff(expected) <= 1, "{}", batches[0].num_rows());
    }
}

#[tokio::test]
async fn long_rows_of_csv_are_read_as_long_as_they_end() {
    let row = format!("1,{}\n", "x".repeat(200_000));
    let (_, batches) = csv(&format!("a,b\n{}", row.repeat(400))).await.unwrap();
    assert_eq!(rows(&batches), 400);
}
