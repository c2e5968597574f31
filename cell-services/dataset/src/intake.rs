//! Uploaded files to rows, in constant memory: one chunk of bytes and one batch of rows at a time.

pub mod build;
pub mod csv;
pub mod ndjson;
pub mod parquet;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use ::arrow::array::RecordBatch;
use ::arrow::datatypes::SchemaRef;
use bytes::Bytes;
use futures::FutureExt;
use futures::stream::{BoxStream, StreamExt};
use lakehouse::TenantBucket;
use object_store::ObjectStoreExt;
use object_store::path::Path;

use crate::config::Settings;
use crate::domain::{Column, Format};
use crate::error::Error;

/// Rows per batch. Small, because a batch of long rows has to fit in memory too.
pub const BATCH_ROWS: usize = 1_024;
/// Bytes per read of the object; each read is retried by itself, so a slow conversion never holds
/// one long answer open.
const CHUNK_BYTES: u64 = 4 << 20;

pub type Rows = BoxStream<'static, Result<RecordBatch, Error>>;

/// One file of a transaction, in the bucket.
#[derive(Debug, Clone)]
pub struct Source {
    pub bucket: TenantBucket,
    pub object: Path,
    pub bytes: u64,
    /// As the user called it; for messages.
    pub name: String,
    pub format: Format,
}

/// How text is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialect {
    /// Spellings of "no value".
    pub nulls: Vec<String>,
    pub delimiter: u8,
}

impl Default for Dialect {
    /// R writes missing values as `NA`, most others as nothing at all.
    fn default() -> Self {
        Self { nulls: vec![String::new(), "NA".to_owned()], delimiter: b',' }
    }
}

impl Dialect {
    pub fn is_null(&self, text: &str) -> bool {
        self.nulls.iter().any(|null| null == text)
    }
}

/// The columns of a file.
#[derive(Debug, Clone)]
pub enum Shape {
    /// Of text: inferred or declared; rows are read into them.
    Columns(Vec<Column>),
    /// Of Parquet: the file's own.
    Arrow(SchemaRef),
}

impl Shape {
    pub fn arrow(&self) -> SchemaRef {
        match self {
            Shape::Columns(columns) => Arc::new(crate::domain::column::arrow_schema(columns)),
            Shape::Arrow(schema) => Arc::clone(schema),
        }
    }
}

/// A library that dies of a file has refused it: nothing of the file is kept, so nothing is half done.
async fn guarded<T>(source: &Source, reading: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    AssertUnwindSafe(reading).catch_unwind().await.unwrap_or_else(|_| Err(unsound(&source.name)))
}

fn unsound(file: &str) -> Error {
    Error::unreadable(file, "its bytes are not sound")
}

/// Infers the columns of a file from its beginning.
pub async fn infer(source: &Source, dialect: &Dialect, settings: &Settings) -> Result<Shape, Error> {
    guarded(source, inferred(source, dialect, settings)).await
}

async fn inferred(source: &Source, dialect: &Dialect, settings: &Settings) -> Result<Shape, Error> {
    match source.format {
        Format::Csv => {
            csv::infer(source, &sample(source, settings).await?, dialect, settings.columns).map(Shape::Columns)
        }
        Format::Ndjson => ndjson::infer(source, &sample(source, settings).await?, settings).map(Shape::Columns),
        Format::Parquet => parquet::columns(source, settings).await.map(Shape::Arrow),
    }
}

/// The rows of a file, with text read into `columns`.
pub async fn rows(source: &Source, columns: &[Column], dialect: &Dialect, settings: &Settings) -> Result<Rows, Error> {
    let rows = guarded(source, begun(source, columns, dialect, settings)).await?;
    let name = source.name.clone();
    let whole = AssertUnwindSafe(rows).catch_unwind();
    Ok(whole.map(move |row| row.unwrap_or_else(|_| Err(unsound(&name)))).boxed())
}

async fn begun(source: &Source, columns: &[Column], dialect: &Dialect, settings: &Settings) -> Result<Rows, Error> {
    match source.format {
        Format::Csv => {
            let header = csv::header(source, &sample(source, settings).await?, dialect)?;
            csv::rows(source, &header, columns, dialect)
        }
        Format::Ndjson => Ok(ndjson::rows(source, columns, settings.row_bytes)),
        Format::Parquet => parquet::rows(source, settings).await,
    }
}

async fn sample(source: &Source, settings: &Settings) -> Result<Bytes, Error> {
    read(source, 0, settings.sample_bytes.min(source.bytes)).await
}

async fn read(source: &Source, from: u64, to: u64) -> Result<Bytes, Error> {
    if from >= to {
        return Ok(Bytes::new());
    }
    source.bucket.store().get_range(&source.object, from..to).await.map_err(|error| {
        lakehouse::Error::Store { action: "read", path: source.object.to_string(), source: error }.into()
    })
}

/// The object's bytes, in order.
fn chunks(source: &Source) -> BoxStream<'static, Result<Bytes, Error>> {
    let source = source.clone();
    futures::stream::try_unfold((source, 0_u64), |(source, at)| async move {
        if at >= source.bytes {
            return Ok(None);
        }
        let to = (at + CHUNK_BYTES).min(source.bytes);
        let chunk = read(&source, at, to).await?;
        Ok(Some((chunk, (source, to))))
    })
    .boxed()
}
