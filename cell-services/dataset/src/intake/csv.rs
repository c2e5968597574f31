//! CSV (RFC 4180, a header line, UTF-8 with or without a byte order mark).

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::csv::ReaderBuilder;
use arrow::csv::reader::{Decoder, Format as CsvFormat};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use bytes::{Buf, Bytes};
use futures::stream::{BoxStream, StreamExt, TryStreamExt};

use super::build::{ColumnBuilder, excerpt};
use super::{BATCH_ROWS, Dialect, Rows, Source, chunks};
use crate::domain::column::check_names;
use crate::domain::{Column, Guess};
use crate::error::{Error, Misfit};

/// Rows read at once. Few, because their length shows only when all of them are in memory.
const READ_ROWS: usize = 256;
/// Bytes these rows may take together before they count as one endless row, most likely an
/// unclosed quote.
const READ_BYTES: usize = 64 << 20;

/// Names of the columns, from the first line.
pub fn header(source: &Source, sample: &[u8], dialect: &Dialect) -> Result<Vec<String>, Error> {
    let format = CsvFormat::default().with_header(true).with_delimiter(dialect.delimiter);
    let (schema, _) = format.infer_schema(sample, Some(0)).map_err(|e| Error::unreadable(&source.name, reason(&e)))?;
    Ok(schema.fields().iter().map(|field| field.name().clone()).collect())
}

/// Columns with the narrowest types that fit every whole row of the sample.
pub fn infer(source: &Source, sample: &[u8], dialect: &Dialect, most: usize) -> Result<Vec<Column>, Error> {
    let names = header(source, sample, dialect)?;
    check_names(names.iter().map(String::as_str), most)
        .map_err(|error| Error::Columns { file: source.name.clone(), source: error })?;
    let whole = sample.len() as u64 >= source.bytes;
    let mut guesses = vec![Guess::default(); names.len()];
    // The sample's last row may be cut, so only full batches count; long rows need small batches.
    for rows in [BATCH_ROWS, 16, 1] {
        let seen = observe(source, sample, &names, dialect, rows, whole, &mut guesses)?;
        if seen || whole {
            break;
        }
    }
    let columns = names.into_iter().zip(guesses);
    Ok(columns.map(|(name, guess)| Column { name, kind: guess.kind(), nullable: true }).collect())
}

fn observe(
    source: &Source,
    mut sample: &[u8],
    names: &[String],
    dialect: &Dialect,
    batch_rows: usize,
    whole: bool,
    guesses: &mut [Guess],
) -> Result<bool, Error> {
    let mut decoder = decoder(&text_schema(names), dialect, batch_rows);
    let failed = |e| Error::unreadable(&source.name, reason(&e));
    let mut seen = false;
    loop {
        // An empty buffer would tell the decoder that the file is over: the cut row would count as whole.
        if sample.is_empty() && !whole && decoder.capacity() > 0 {
            return Ok(seen);
        }
        let consumed = decoder.decode(sample).map_err(failed)?;
        sample = &sample[consumed..];
        let ended = consumed == 0 && sample.is_empty();
        if decoder.capacity() > 0 && !ended {
            continue;
        }
        let Some(batch) = decoder.flush().map_err(failed)? else { return Ok(seen) };
        seen = true;
        for (guess, column) in guesses.iter_mut().zip(batch.columns()) {
            let column: &StringArray = column.as_string();
            column.iter().flatten().filter(|text| !dialect.is_null(text)).for_each(|text| guess.text(text));
        }
    }
}

fn text_schema(names: &[String]) -> SchemaRef {
    Arc::new(Schema::new(names.iter().map(|name| Field::new(name, DataType::Utf8, true)).collect::<Vec<_>>()))
}

fn decoder(schema: &SchemaRef, dialect: &Dialect, batch_rows: usize) -> Decoder {
    ReaderBuilder::new(Arc::clone(schema))
        .with_header(true)
        .with_delimiter(dialect.delimiter)
        .with_batch_size(batch_rows)
        .build_decoder()
}

/// The file's rows, read into `columns` by name.
pub fn rows(source: &Source, header: &[String], columns: &[Column], dialect: &Dialect) -> Result<Rows, Error> {
    // Of two columns of one name only the first would be read.
    check_names(header.iter().map(String::as_str), header.len())
        .map_err(|error| Error::Columns { file: source.name.clone(), source: error })?;
    let reading: Vec<Column> = header
        .iter()
        .map(|name| {
            columns.iter().find(|column| column.name == *name).cloned().ok_or_else(|| {
                Error::Schema(format!(
                    "{} has a column '{}' that the dataset does not have",
                    source.name,
                    excerpt(name)
                ))
            })
        })
        .collect::<Result<_, _>>()?;
    if let Some(missing) = columns.iter().find(|c| !c.nullable && !header.contains(&c.name)) {
        return Err(Error::Schema(format!("{} lacks the required column '{}'", source.name, missing.name)));
    }
    let reader = Reader {
        name: source.name.clone(),
        bytes: chunks(source),
        chunk: Bytes::new(),
        decoder: decoder(&text_schema(header), dialect, READ_ROWS),
        schema: Arc::new(crate::domain::column::arrow_schema(&reading)),
        columns: reading,
        dialect: dialect.clone(),
        rows: 0,
        fed: 0,
        ended: false,
    };
    Ok(futures::stream::try_unfold(reader, |mut reader| async move {
        Ok(reader.next().await?.map(|batch| (batch, reader)))
    })
    .boxed())
}

struct Reader {
    name: String,
    bytes: BoxStream<'static, Result<Bytes, Error>>,
    chunk: Bytes,
    decoder: Decoder,
    schema: SchemaRef,
    columns: Vec<Column>,
    dialect: Dialect,
    /// Rows handed out.
    rows: u64,
    /// Bytes since the last batch.
    fed: usize,
    ended: bool,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<RecordBatch>, Error> {
        loop {
            if self.chunk.is_empty() && !self.ended {
                match self.bytes.try_next().await? {
                    Some(chunk) => self.chunk = chunk,
                    None => self.ended = true,
                }
            }
            // An empty buffer tells the decoder that the file is over.
            let consumed = self.decoder.decode(&self.chunk).map_err(|e| self.unreadable(&e))?;
            self.chunk.advance(consumed);
            self.fed += consumed;
            if self.decoder.capacity() == 0 || (self.ended && self.chunk.is_empty() && consumed == 0) {
                self.fed = 0;
                let text = self.decoder.flush().map_err(|e| self.unreadable(&e))?;
                return text.map(|batch| self.convert(&batch)).transpose();
            }
            if self.fed > READ_BYTES {
                let text = format!(
                    "the {READ_ROWS} rows after row {} take more than {READ_BYTES} bytes: is a quote not closed?",
                    self.rows
                );
                return Err(Error::unreadable(&self.name, text));
            }
        }
    }

    fn unreadable(&self, error: &arrow::error::ArrowError) -> Error {
        Error::unreadable(&self.name, reason(error))
    }

    fn convert(&mut self, text: &RecordBatch) -> Result<RecordBatch, Error> {
        let mut converted = Vec::with_capacity(self.columns.len());
        for (column, values) in self.columns.iter().zip(text.columns()) {
            let values: &StringArray = values.as_string();
            let mut builder = ColumnBuilder::new(column.kind);
            for row in 0..values.len() {
                // The decoder knows an empty field only as a null.
                let value = if values.is_null(row) { "" } else { values.value(row) };
                if self.dialect.is_null(value) {
                    builder.null();
                } else if !builder.text(value) {
                    return Err(misfit(&self.name, self.rows + row as u64 + 1, column, value));
                }
            }
            converted.push(builder.finish());
        }
        self.rows += text.num_rows() as u64;
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(text.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), converted, &options)
            .map_err(|e| Error::unreadable(&self.name, format!("rows before row {}: {}", self.rows, reason(&e))))
    }
}

pub fn misfit(file: &str, row: u64, column: &Column, value: &str) -> Error {
    Error::Misfit(Box::new(Misfit {
        file: file.to_owned(),
        row,
        column: column.name.clone(),
        expected: column.kind.name(),
        value: excerpt(value),
    }))
}

/// The part of an Arrow error that a user can act on.
pub fn reason(error: &arrow::error::ArrowError) -> String {
    use arrow::error::ArrowError;
    match error {
        ArrowError::CsvError(text) | ArrowError::InvalidArgumentError(text) | ArrowError::ParseError(text) => {
            excerpt_long(text)
        }
        ArrowError::SchemaError(text) | ArrowError::ParquetError(text) | ArrowError::JsonError(text) => {
            excerpt_long(text)
        }
        _ => "the file is damaged".to_owned(),
    }
}

fn excerpt_long(text: &str) -> String {
    text.chars().take(300).collect()
}
