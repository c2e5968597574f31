//! From a body to rows: NDJSON as it is, Arrow turned into the same lines.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Float16Type, Float32Type, Float64Type};
use arrow::ipc::reader::StreamDecoder;
use arrow::json::LineDelimitedWriter;
use bytes::Bytes;

use crate::domain::frames::Frames;
use crate::domain::lines::{Line, LineCutter};
use crate::error::Error;

/// Bytes of one Arrow record batch: all of them are in memory at once.
const MAX_ARROW_BATCH: usize = 64 << 20;
/// Rows of an Arrow batch turned into lines at once.
const ARROW_SLICE: usize = 1024;
/// Bytes of those lines: a dictionary lets a short batch stand for very long rows.
const SLICE_BYTES: usize = 8 << 20;

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
            Form::Arrow => RowReader::Arrow(Box::new(ArrowRows::new())),
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
            // The library dies of some bytes; the row it was at is then no row, and the body ends there.
            RowReader::Arrow(rows) => catch_unwind(AssertUnwindSafe(|| rows.next_row()))
                .unwrap_or_else(|_| Err(Error::Arrow("its bytes are not sound".to_owned()))),
        }
    }
}

pub struct ArrowRows {
    frames: Frames,
    decoder: StreamDecoder,
    buffer: Buffer,
    /// Bytes fed since the last batch came out.
    pending: usize,
    /// The batch being read, and its next row.
    batch: Option<(RecordBatch, usize)>,
    /// Rows of the next slice: fewer while rows are long.
    at_once: usize,
    lines: LineCutter,
    /// For each row of the slice in `lines`: the float column that is not finite.
    broken: VecDeque<Option<String>>,
}

impl ArrowRows {
    fn new() -> Self {
        Self {
            frames: Frames::default(),
            decoder: StreamDecoder::new(),
            buffer: Buffer::from(Vec::<u8>::new()),
            pending: 0,
            batch: None,
            at_once: ARROW_SLICE,
            lines: LineCutter::default(),
            broken: VecDeque::new(),
        }
    }

    fn feed(&mut self, chunk: Bytes) -> Result<(), Error> {
        self.frames.see(&chunk).map_err(|reason| Error::Arrow(reason.to_owned()))?;
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
            match self.slice()? {
                Slice::Lines => continue,
                Slice::TooLong => return Ok(Some(Row::TooLong)),
                Slice::None => {}
            }
            match self.decoder.decode(&mut self.buffer).map_err(|e| Error::Arrow(e.to_string()))? {
                Some(batch) => {
                    // A column of nulls has any number of rows for no bytes at all.
                    if batch.num_rows() > self.pending.saturating_mul(8) {
                        return Err(Error::Arrow("a record batch has more rows than bits".to_owned()));
                    }
                    self.pending = self.buffer.len();
                    self.batch = Some((batch, 0));
                }
                None => return Ok(None),
            }
        }
    }

    /// Turns the next rows of the batch into lines.
    fn slice(&mut self) -> Result<Slice, Error> {
        let Some((batch, at)) = self.batch.take() else { return Ok(Slice::None) };
        let left = batch.num_rows() - at;
        if left == 0 {
            return Ok(Slice::None);
        }
        let mut rows = left.min(self.at_once);
        let text = loop {
            match lines_of(&batch.slice(at, rows))? {
                None if rows > 1 => rows /= 2,
                text => break text,
            }
        };
        self.at_once = if rows < left.min(self.at_once) { rows } else { (2 * self.at_once).min(ARROW_SLICE) };
        let slice = batch.slice(at, rows);
        self.batch = Some((batch, at + rows));
        let Some(text) = text else { return Ok(Slice::TooLong) };
        self.broken = not_finite(&slice).into();
        self.lines.feed(text.into());
        Ok(Slice::Lines)
    }
}

/// What became of the next rows of a batch.
enum Slice {
    Lines,
    /// One row that is longer than any row may be.
    TooLong,
    None,
}

/// Lines under way; takes no more than a slice may have.
#[derive(Default)]
struct Text {
    bytes: Vec<u8>,
    full: bool,
}

impl std::io::Write for Text {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.full |= self.bytes.len() + bytes.len() > SLICE_BYTES;
        if self.full {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// One line per row; `None` when they are too long together.
fn lines_of(rows: &RecordBatch) -> Result<Option<Vec<u8>>, Error> {
    let mut text = Text::default();
    let mut writer = LineDelimitedWriter::new(&mut text);
    let written = writer.write(rows).and_then(|()| writer.finish());
    drop(writer);
    match written {
        Err(_) if text.full => Ok(None),
        Err(error) => Err(Error::Arrow(error.to_string())),
        Ok(()) => Ok(Some(text.bytes)),
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
mod tests;
