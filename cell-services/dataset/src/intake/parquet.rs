//! Parquet, read by column chunks straight from the bucket.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use futures::stream::{StreamExt, TryStreamExt};
use lakehouse::pages::{BoundedPages, UNPACKED_BYTES};
use parquet::arrow::ParquetRecordBatchStreamBuilder;
use parquet::arrow::async_reader::ParquetObjectReader;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};

use super::{BATCH_ROWS, Rows, Source};
use crate::config::Settings;
use crate::domain::column::check_names;
use crate::error::Error;

/// Bytes of a batch, judged by the sizes the file itself states.
const BATCH_BYTES: usize = 16 << 20;

async fn open(source: &Source, settings: &Settings) -> Result<ParquetRecordBatchStreamBuilder<BoundedPages>, Error> {
    let reader =
        ParquetObjectReader::new(Arc::clone(source.bucket.store()), source.object.clone()).with_file_size(source.bytes);
    let reader = BoundedPages::new(Box::new(reader), UNPACKED_BYTES);
    let name = source.name.clone();
    let builder = ParquetRecordBatchStreamBuilder::new(reader).await.map_err(|error| failure(&name, error))?;
    check_names(builder.schema().fields().iter().map(|field| field.name().as_str()), settings.columns)
        .map_err(|error| Error::Columns { file: source.name.clone(), source: error })?;
    if builder.metadata().row_groups().iter().flat_map(|group| group.columns()).any(|c| leads_outside(c, source.bytes))
    {
        return Err(Error::unreadable(&source.name, "it is not sound Parquet: a column lies outside of the file"));
    }
    let large = builder
        .metadata()
        .row_groups()
        .iter()
        .map(|group| group.compressed_size())
        .find(|size| *size > settings.row_group_bytes);
    match large {
        Some(size) => {
            let reason = format!(
                "a row group has {size} bytes; at most {} are taken: write smaller row groups",
                settings.row_group_bytes
            );
            Err(Error::unreadable(&source.name, reason))
        }
        None => Ok(builder),
    }
}

/// The store would refuse to read there, and its refusal looks like its own failure.
fn leads_outside(column: &ColumnChunkMetaData, bytes: u64) -> bool {
    let (start, length) = column.byte_range();
    start.checked_add(length).is_none_or(|end| end > bytes)
}

/// The file's own columns.
pub async fn columns(source: &Source, settings: &Settings) -> Result<SchemaRef, Error> {
    Ok(Arc::clone(open(source, settings).await?.schema()))
}

/// Rows of a batch, fewer when they are long: a batch is in memory as a whole.
pub fn batch_rows(file: &ParquetMetaData, most: usize) -> usize {
    let groups = file.row_groups().iter().filter(|group| group.num_rows() > 0);
    let longest = groups.map(|group| group.total_byte_size() / group.num_rows()).max().unwrap_or(0);
    let fitting = BATCH_BYTES / usize::try_from(longest).unwrap_or(usize::MAX).max(1);
    fitting.clamp(1, most)
}

pub async fn rows(source: &Source, settings: &Settings) -> Result<Rows, Error> {
    let name = source.name.clone();
    let builder = open(source, settings).await?;
    let rows = batch_rows(builder.metadata(), BATCH_ROWS);
    let stream = builder.with_batch_size(rows).build().map_err(|error| failure(&source.name, error))?;
    Ok(stream.map_err(move |error| failure(&name, error)).boxed())
}

/// A store that fails is not the file's fault.
fn failure(file: &str, error: ParquetError) -> Error {
    match error {
        ParquetError::External(source) => match source.downcast::<object_store::Error>() {
            Ok(source) => lakehouse::Error::Store { action: "read", path: file.to_owned(), source: *source }.into(),
            Err(source) => Error::unreadable(file, source),
        },
        other => {
            Error::unreadable(file, format!("it is not sound Parquet: {other}").chars().take(300).collect::<String>())
        }
    }
}
