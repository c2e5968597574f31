//! From a body to rows: NDJSON as it is, Arrow turned into the same lines.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Float16Type, Float32Type, Float64Type};
use arrow::ipc::reader::StreamDecoder;
use arrow::json::LineDelimitedWriter;
use bytes::Bytes;

use crate::domain::lines::{Line, LineCutter};
use crate::error::Error;

/// Bytes of one Arrow record batch: all of them are in memory at once.
const MAX_ARROW_BATCH: usize = 64 << 20;
/// Rows of an Arrow batch turned into lines at once.
const ARROW_SLICE: usize = 1024;

/// The form of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Ndjson,
    Arrow,
}

impl Form {
    pub fn of(content_type: Option<&str>) -> Result<Self, Error> {
        let essence = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        match essence.to_ascii_lowercase().as_str() {
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Ok(Form::Ndjson),
            "application/vnd.apache.arrow.stream" => Ok(Form::Arrow),
            _ => Err(Error::MediaType),
        }
    }
}

/// One row of a body.
#[derive(Debug, PartialEq, Eq)]
pub enum Row {
    Json(Bytes),
    TooLong,
    /// A float that JSON cannot write.
    NotFinite {
        field: String,
    },
}

/// Feed it the body, take rows until there is none, feed the next chunk.
pub enum RowReader {
    Ndjson(LineCutter),
    Arrow(Box<ArrowRows>),
}

impl RowReader {
    pub fn new(form: Form) -> Self {
        match form {
            Form::Ndjson => RowReader::Ndjson(LineCutter::default()),
            Form::Arrow => RowReader::Arrow(Box::default()),
        }
    }

    pub fn feed(&mut self, chunk: Bytes) -> Result<(), Error> {
        match self {
            RowReader::Ndjson(cutter) => cutter.feed(chunk),
            RowReader::Arrow(rows) => rows.feed(chunk)?,
        }
        Ok(())
    }

    pub fn end(&mut self) -> Result<(), Error> {
        match self {
            RowReader::Ndjson(cutter) => cutter.end(),
            RowReader::Arrow(rows) => rows.decoder.finish().map_err(|e| Error::Arrow(e.to_string()))?,
        }
        Ok(())
    }

    pub fn next_row(&mut self) -> Result<Option<Row>, Error> {
        match self {
            RowReader::Ndjson(cutter) => Ok(cutter.next_line().map(|line| match line {
                Line::Row(row) => Row::Json(row),
                Line::TooLong => Row::TooLong,
            })),
            RowReader::Arrow(rows) => rows.next_row(),
        }
    }
}

#[derive(Default)]
pub struct ArrowRows {
    decoder: StreamDecoder,
    buffer: Buffer,
    /// Bytes fed since the last batch came out.
    pending: usize,
    /// The batch being read, and its next row.
    batch: Option<(RecordBatch, usize)>,
    lines: LineCutter,
    /// For each row of the slice in `lines`: the float column that is not finite.
    broken: std::collections::VecDeque<Option<String>>,
}

impl ArrowRows {
    fn feed(&mut self, chunk: Bytes) -> Result<(), Error> {
        self.pending += chunk.len();
        if self.pending > MAX_ARROW_BATCH {
            return Err(Error::Arrow(format!("a record batch has at most {MAX_ARROW_BATCH} bytes")));
        }
        self.buffer = Buffer::from(chunk);
        Ok(())
    }

    fn next_row(&mut self) -> Result<Option<Row>, Error> {
        loop {
            if let Some(broken) = self.broken.pop_front() {
                let line = self.lines.next_line();
                return Ok(match (broken, line) {
                    (Some(field), _) => Some(Row::NotFinite { field }),
                    (None, Some(Line::Row(row))) => Some(Row::Json(row)),
                    (None, Some(Line::TooLong)) => Some(Row::TooLong),
                    // An all-null row of an empty object still has its line; no line is a bug of ours.
                    (None, None) => return Err(Error::Arrow("a row could not be written".to_owned())),
                });
            }
            if self.slice()? {
                continue;
            }
            match self.decoder.decode(&mut self.buffer).map_err(|e| Error::Arrow(e.to_string()))? {
                Some(batch) => {
                    self.pending = self.buffer.len();
                    self.batch = Some((batch, 0));
                }
                None => return Ok(None),
            }
        }
    }

    /// Turns the next rows of the batch into lines; `false` if there are none.
    fn slice(&mut self) -> Result<bool, Error> {
        let Some((batch, at)) = self.batch.take() else { return Ok(false) };
        let rows = (batch.num_rows() - at).min(ARROW_SLICE);
        if rows == 0 {
            return Ok(false);
        }
        let slice = batch.slice(at, rows);
        self.broken = not_finite(&slice).into();
        let mut text = Vec::with_capacity(rows * 128);
        let mut writer = LineDelimitedWriter::new(&mut text);
        writer.write(&slice).and_then(|()| writer.finish()).map_err(|e| Error::Arrow(e.to_string()))?;
        self.lines.feed(text.into());
        self.batch = Some((batch, at + rows));
        Ok(true)
    }
}

/// For each row the first float column that holds no finite number. JSON would make null of it.
fn not_finite(batch: &RecordBatch) -> Vec<Option<String>> {
    let mut broken = vec![None; batch.num_rows()];
    let schema = batch.schema();
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        let finite: Box<dyn Fn(usize) -> bool> = match field.data_type() {
            DataType::Float16 => {
                let values = column.as_primitive::<Float16Type>();
                Box::new(move |row| values.value(row).is_finite())
            }
            DataType::Float32 => {
                let values = column.as_primitive::<Float32Type>();
                Box::new(move |row| values.value(row).is_finite())
            }
            DataType::Float64 => {
                let values = column.as_primitive::<Float64Type>();
                Box::new(move |row| values.value(row).is_finite())
            }
            _ => continue,
        };
        for (row, slot) in broken.iter_mut().enumerate() {
            if slot.is_none() && column.is_valid(row) && !finite(row) {
                *slot = Some(field.name().clone());
            }
        }
    }
    broken
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, Int64Array, StringArray, TimestampMicrosecondArray};
    use arrow::datatypes::{Field, Schema};
    use arrow::ipc::writer::StreamWriter;

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
}
