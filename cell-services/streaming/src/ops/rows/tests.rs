use std::sync::Arc;

use arrow::array::{DictionaryArray, Float64Array, Int64Array, NullArray, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{Field, Int32Type, Schema};
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};

use super::*;

fn ipc() -> Vec<u8> {
    let schema = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("ratio", DataType::Float64, true),
        Field::new("name", DataType::Utf8, true),
        Field::new("at", DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, Some("UTC".into())), true),
    ]));
    let batch = RecordBatch::try_new(
        schema.clone(),
        vec![
            Arc::new(Int64Array::from(vec![1, 2, 3])),
            Arc::new(Float64Array::from(vec![Some(0.5), Some(f64::NAN), None])),
            Arc::new(StringArray::from(vec![Some("a\nb"), None, Some("c")])),
            Arc::new(
                TimestampMicrosecondArray::from(vec![Some(1_357_034_400_000_000), None, None]).with_timezone("UTC"),
            ),
        ],
    )
    .unwrap();
    let mut bytes = Vec::new();
    let mut writer = StreamWriter::try_new(&mut bytes, &schema).unwrap();
    writer.write(&batch).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    bytes
}

fn read(chunk: usize) -> Vec<Row> {
    let mut reader = RowReader::new(Form::Arrow);
    let mut rows = Vec::new();
    for part in ipc().chunks(chunk) {
        reader.feed(Bytes::copy_from_slice(part)).unwrap();
        while let Some(row) = reader.next_row().unwrap() {
            rows.push(row);
        }
    }
    reader.end().unwrap();
    rows
}

/// Rows or a refusal; at most what a body may hold in memory, and no panic.
#[test]
fn a_spoilt_body_is_read_or_refused() {
    let (arrow, json) = (
        ipc(),
        br#"{"id":1,"name":"a\nb","at":"2013-01-01T10:00:00Z"}
{"id":2,"deep":[[1,{"a":null}]],"ratio":1e308}
"#,
    );
    for (form, good, count) in [(Form::Arrow, arrow.as_slice(), 3_000), (Form::Ndjson, json.as_slice(), 3_000)] {
        let mut refused = 0;
        for bytes in testkit::hostile(&[good], count) {
            let mut reader = RowReader::new(form);
            let mut read = || -> Result<usize, Error> {
                let mut rows = 0;
                for chunk in bytes.chunks(97) {
                    reader.feed(Bytes::copy_from_slice(chunk))?;
                    while reader.next_row()?.is_some() {
                        rows += 1;
                    }
                }
                reader.end()?;
                Ok(rows)
            };
            refused += usize::from(read().is_err());
        }
        assert!(form == Form::Ndjson || refused > count / 2, "{refused} of {count} refused");
    }
}

#[test]
fn an_arrow_stream_becomes_the_same_rows_however_it_was_chunked() {
    let rows = read(1 << 20);
    assert_eq!(rows.len(), 6);
    assert_eq!(rows[0], Row::Json(r#"{"id":1,"ratio":0.5,"name":"a\nb","at":"2013-01-01T10:00:00Z"}"#.into()));
    assert_eq!(rows[1], Row::NotFinite { field: "ratio".to_owned() });
    assert_eq!(rows[2], Row::Json(r#"{"id":3,"name":"c"}"#.into()));
    for chunk in [1, 7, 64, 1000] {
        assert_eq!(read(chunk), rows, "{chunk}");
    }
}

fn written(batch: &RecordBatch) -> Bytes {
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    writer.write(batch).unwrap();
    writer.into_inner().unwrap().into()
}

#[test]
fn a_short_batch_that_stands_for_long_rows_takes_little_memory() {
    let word = "x".repeat(1 << 20);
    let words: DictionaryArray<Int32Type> = std::iter::repeat_n(word.as_str(), 100).collect();
    let batch = RecordBatch::try_from_iter([("name", Arc::new(words) as _)]).unwrap();
    let mut reader = RowReader::new(Form::Arrow);
    reader.feed(written(&batch)).unwrap();
    let mut rows = 0;
    while let Some(row) = reader.next_row().unwrap() {
        assert_eq!(row, Row::TooLong);
        rows += 1;
        let RowReader::Arrow(inner) = &reader else { panic!() };
        // Eight fit; the guess doubles after every slice that did, also after a short last one.
        assert!(inner.at_once <= 32, "{} rows of 1 MiB at once", inner.at_once);
    }
    assert_eq!(rows, 100);
}

#[test]
fn a_row_that_is_longer_than_a_whole_slice_does_not_hide_the_next() {
    let names = StringArray::from(vec!["a".to_owned(), "x".repeat(SLICE_BYTES), "b".to_owned()]);
    let batch = RecordBatch::try_from_iter([("name", Arc::new(names) as _)]).unwrap();
    let mut reader = RowReader::new(Form::Arrow);
    reader.feed(written(&batch)).unwrap();
    let rows: Vec<Row> = std::iter::from_fn(|| reader.next_row().unwrap()).collect();
    let json = |text: &str| Row::Json(Bytes::copy_from_slice(text.as_bytes()));
    assert_eq!(rows, [json(r#"{"name":"a"}"#), Row::TooLong, json(r#"{"name":"b"}"#)]);
}

#[test]
fn a_batch_cannot_claim_rows_that_it_does_not_carry() {
    let batch = RecordBatch::try_from_iter([("name", Arc::new(NullArray::new(1 << 40)) as _)]).unwrap();
    let mut reader = RowReader::new(Form::Arrow);
    reader.feed(written(&batch)).unwrap();
    assert!(matches!(reader.next_row(), Err(Error::Arrow(_))));
}

#[test]
fn a_compressed_batch_is_refused_before_it_is_unpacked() {
    let batch = RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(vec![1; 100])) as _)]).unwrap();
    let options = IpcWriteOptions::default().try_with_compression(Some(CompressionType::ZSTD)).unwrap();
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), &batch.schema(), options).unwrap();
    writer.write(&batch).unwrap();
    let bytes = Bytes::from(writer.into_inner().unwrap());
    assert!(matches!(RowReader::new(Form::Arrow).feed(bytes), Err(Error::Arrow(_))));
}

#[test]
fn an_arrow_stream_that_ends_early_is_refused() {
    let mut reader = RowReader::new(Form::Arrow);
    let bytes = ipc();
    reader.feed(Bytes::copy_from_slice(&bytes[..bytes.len() / 3])).unwrap();
    while reader.next_row().unwrap().is_some() {}
    assert!(reader.end().is_err());
}

#[test]
fn a_form_is_chosen_by_the_media_type_alone() {
    assert_eq!(Form::of(Some("application/x-ndjson; charset=utf-8")).unwrap(), Form::Ndjson);
    assert_eq!(Form::of(Some("application/vnd.apache.arrow.stream")).unwrap(), Form::Arrow);
    assert!(Form::of(Some("application/json")).is_err());
    assert!(Form::of(None).is_err());
}
