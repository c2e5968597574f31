//! NDJSON: one JSON object per line.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::{Buf, Bytes, BytesMut};
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use serde_json::{Map, Value};

use super::build::{ColumnBuilder, excerpt};
use super::csv::misfit;
use super::{BATCH_ROWS, Rows, Source, chunks};
use crate::config::Settings;
use crate::domain::column::check_names;
use crate::domain::{Column, Guess};
use crate::error::Error;

/// Bytes after which a batch is handed on even if it is not full.
const BATCH_BYTES: usize = 16 << 20;

/// Columns in the order in which their members first appear.
pub fn infer(source: &Source, sample: &[u8], settings: &Settings) -> Result<Vec<Column>, Error> {
    let whole = sample.len() as u64 >= source.bytes;
    let mut guesses: Vec<(String, Guess)> = Vec::new();
    let mut lines = sample.split(|byte| *byte == b'\n').peekable();
    let mut row = 0;
    while let Some(line) = lines.next() {
        // Without its newline the sample's last line may be cut.
        if (lines.peek().is_none() && !whole) || is_blank(line) {
            continue;
        }
        row += 1;
        for (name, member) in &object(&source.name, row, line)? {
            match guesses.iter_mut().find(|(known, _)| known == name) {
                Some((_, guess)) => guess.json(member),
                None => {
                    let mut guess = Guess::default();
                    guess.json(member);
                    guesses.push((name.clone(), guess));
                }
            }
            if guesses.len() > settings.columns {
                break;
            }
        }
    }
    if row == 0 && !whole {
        return Err(Error::unreadable(&source.name, format!("the first row is longer than {} bytes", sample.len())));
    }
    check_names(guesses.iter().map(|(name, _)| name.as_str()), settings.columns)
        .map_err(|error| Error::Columns { file: source.name.clone(), source: error })?;
    Ok(guesses.into_iter().map(|(name, guess)| Column { name, kind: guess.kind(), nullable: true }).collect())
}

fn is_blank(line: &[u8]) -> bool {
    line.iter().all(u8::is_ascii_whitespace)
}

fn object(file: &str, row: u64, line: &[u8]) -> Result<Map<String, Value>, Error> {
    match serde_json::from_slice(line) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err(Error::unreadable(file, format!("row {row} is not a JSON object"))),
        Err(error) => Err(Error::unreadable(file, format!("row {row} is not JSON: {error}"))),
    }
}

/// The file's rows, read into `columns` by name.
pub fn rows(source: &Source, columns: &[Column], row_bytes: usize) -> Rows {
    let reader = Reader {
        name: source.name.clone(),
        bytes: chunks(source),
        chunk: Bytes::new(),
        line: BytesMut::new(),
        longest: row_bytes,
        schema: Arc::new(crate::domain::column::arrow_schema(columns)),
        columns: columns.to_vec(),
        rows: 0,
        ended: false,
    };
    futures::stream::try_unfold(
        reader,
        |mut reader| async move { Ok(reader.next().await?.map(|batch| (batch, reader))) },
    )
    .boxed()
}

struct Reader {
    name: String,
    bytes: BoxStream<'static, Result<Bytes, Error>>,
    chunk: Bytes,
    /// A line that began in an earlier chunk.
    line: BytesMut,
    longest: usize,
    schema: SchemaRef,
    columns: Vec<Column>,
    rows: u64,
    ended: bool,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<RecordBatch>, Error> {
        let mut builders: Vec<ColumnBuilder> = self.columns.iter().map(|c| ColumnBuilder::new(c.kind)).collect();
        let (mut count, mut bytes) = (0, 0);
        while count < BATCH_ROWS && bytes < BATCH_BYTES {
            let Some(line) = self.line().await? else { break };
            if is_blank(&line) {
                continue;
            }
            bytes += line.len();
            count += 1;
            self.append(&mut builders, &line)?;
        }
        if count == 0 {
            return Ok(None);
        }
        let arrays = builders.iter_mut().map(ColumnBuilder::finish).collect();
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(count));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options).map(Some).map_err(|e| {
            Error::unreadable(&self.name, format!("rows before row {}: {}", self.rows, super::csv::reason(&e)))
        })
    }

    async fn line(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            if let Some(end) = self.chunk.iter().position(|byte| *byte == b'\n') {
                let rest = self.chunk.split_to(end);
                self.chunk.advance(1);
                return self.joined(rest).map(Some);
            }
            let rest = std::mem::take(&mut self.chunk);
            self.extend(&rest)?;
            match self.bytes.try_next().await? {
                Some(chunk) => self.chunk = chunk,
                None if self.ended || self.line.is_empty() => {
                    self.ended = true;
                    return Ok(None);
                }
                None => {
                    self.ended = true;
                    return Ok(Some(self.line.split().freeze()));
                }
            }
        }
    }

    fn joined(&mut self, rest: Bytes) -> Result<Bytes, Error> {
        if self.line.is_empty() && rest.len() <= self.longest {
            return Ok(rest);
        }
        self.extend(&rest)?;
        Ok(self.line.split().freeze())
    }

    fn extend(&mut self, rest: &[u8]) -> Result<(), Error> {
        if self.line.len() + rest.len() > self.longest {
            let text = format!("row {} is longer than {} bytes", self.rows + 1, self.longest);
            return Err(Error::unreadable(&self.name, text));
        }
        self.line.extend_from_slice(rest);
        Ok(())
    }

    fn append(&mut self, builders: &mut [ColumnBuilder], line: &[u8]) -> Result<(), Error> {
        self.rows += 1;
        let members = object(&self.name, self.rows, line)?;
        let mut found = 0;
        for (column, builder) in self.columns.iter().zip(builders) {
            match members.get(&column.name) {
                None => builder.null(),
                Some(member) => {
                    found += 1;
                    if !builder.json(member) {
                        return Err(misfit(&self.name, self.rows, column, &member.to_string()));
                    }
                }
            }
        }
        if found < members.len()
            && let Some(stray) = members.keys().find(|name| self.columns.iter().all(|column| column.name != **name))
        {
            let text = format!("{}, row {}: the dataset has no column '{}'", self.name, self.rows, excerpt(stray));
            return Err(Error::Schema(text));
        }
        Ok(())
    }
}
