//! Reading back: schema, preview, download.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::json::WriterBuilder;
use arrow::json::writer::LineDelimited;
use bytes::Bytes;
use contracts::claims::scope;
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use kit::Scope;
use lakehouse::{TenantBucket, schema};
use parquet::arrow::ParquetRecordBatchStreamBuilder;
use parquet::arrow::async_reader::ParquetObjectReader;
use serde_json::Value;

use super::encode::Encoder;
use super::{App, datasets, table_name};
use crate::domain::Format;
use crate::domain::column::ColumnView;
use crate::error::Error;
use crate::store::{self, Dataset};

const BATCH_ROWS: usize = 4 * 1024;
pub const MOST_PREVIEW_ROWS: usize = 1_000;
/// Bytes of a preview as JSON: it is answered as a whole.
const MOST_PREVIEW_BYTES: usize = 16 << 20;

/// One version of a dataset. Version 0 is the dataset before its first commit: no columns, no rows.
#[derive(Debug, Clone)]
pub struct Version {
    pub dataset: Dataset,
    pub version: u64,
    pub snapshot_id: Option<i64>,
    pub columns: Vec<ColumnView>,
}

pub async fn version(app: &App, scope: &Scope, reference: &str, wanted: Option<u64>) -> Result<Version, Error> {
    scope.require(scope::DATASETS_READ)?;
    let dataset = datasets::find(app, scope, reference).await?;
    match wanted {
        Some(number) if number != dataset.version => {
            let mut tx = app.database.begin(scope).await?;
            let found = store::transactions::version(&mut tx, scope, dataset.id, number).await?;
            tx.commit().await?;
            let transaction = found.ok_or(Error::NoVersion)?;
            Ok(Version { dataset, version: number, snapshot_id: transaction.snapshot_id, columns: transaction.columns })
        }
        _ => Ok(Version {
            version: dataset.version,
            snapshot_id: dataset.snapshot_id,
            columns: dataset.columns.clone(),
            dataset,
        }),
    }
}

/// The first `limit` rows, as JSON objects with every column.
pub async fn preview(app: &App, scope: &Scope, version: &Version, limit: usize) -> Result<Vec<Value>, Error> {
    let Some(snapshot_id) = version.snapshot_id else { return Ok(Vec::new()) };
    let (_, mut batches) = batches(app, scope, &version.dataset.name, snapshot_id, limit.clamp(1, BATCH_ROWS)).await?;
    let (mut rows, mut left) = (Vec::new(), MOST_PREVIEW_BYTES);
    while rows.len() < limit {
        let Some(batch) = batches.try_next().await? else { break };
        let wanted = batch.slice(0, batch.num_rows().min(limit - rows.len()));
        let text = lines(&wanted)?;
        left = left.checked_sub(text.len()).ok_or(Error::PreviewTooLong { limit: MOST_PREVIEW_BYTES })?;
        rows.extend(objects(&text)?);
    }
    Ok(rows)
}

fn lines(batch: &RecordBatch) -> Result<Vec<u8>, Error> {
    let mut text = Vec::new();
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(&mut text);
    writer.write(batch).map_err(Error::stored)?;
    writer.finish().map_err(Error::stored)?;
    drop(writer);
    Ok(text)
}

fn objects(text: &[u8]) -> Result<Vec<Value>, Error> {
    text.split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).map_err(Error::stored))
        .collect()
}

/// All rows, encoded as they are read. An error in the middle breaks the answer off; it never
/// looks complete.
pub async fn download(
    app: &App,
    scope: &Scope,
    version: &Version,
    format: Format,
) -> Result<BoxStream<'static, Result<Bytes, Error>>, Error> {
    let snapshot_id = version.snapshot_id.ok_or(Error::NoVersion)?;
    let (schema, batches) = batches(app, scope, &version.dataset.name, snapshot_id, BATCH_ROWS).await?;
    let encoder = Encoder::new(format, &schema)?;
    let bytes = futures::stream::try_unfold((batches, Some(encoder)), |(mut batches, mut encoder)| async move {
        let Some(mut active) = encoder.take() else { return Ok(None) };
        let chunk = match batches.try_next().await? {
            Some(batch) => {
                let chunk = active.encode(&batch)?;
                encoder = Some(active);
                chunk
            }
            None => active.finish()?,
        };
        Ok(Some((Bytes::from(chunk), (batches, encoder))))
    });
    Ok(bytes.try_filter(|chunk| futures::future::ready(!chunk.is_empty())).boxed())
}

async fn batches(
    app: &App,
    scope: &Scope,
    name: &str,
    snapshot_id: i64,
    batch_rows: usize,
) -> Result<(SchemaRef, BoxStream<'static, Result<RecordBatch, Error>>), Error> {
    let table = app.catalog.load(scope, &table_name(name)?).await?;
    let snapshot = table.metadata.snapshot_by_id(snapshot_id).ok_or(Error::NoVersion)?;
    let columns = snapshot.schema(&table.metadata).map_err(|error| Error::Lakehouse(error.into()))?;
    let columns = schema::to_arrow(&columns)?;
    let bucket = app.bucket.tenant(&scope.tenant);
    let files = lakehouse::scan::files(&bucket, &table.metadata, Some(snapshot_id)).await?;
    let wanted = Arc::clone(&columns);
    let stream = futures::stream::iter(files.into_iter().map(Ok::<_, Error>))
        .and_then(move |file| open(bucket.clone(), file.path.clone(), file.size(), batch_rows))
        .try_flatten()
        .and_then(move |batch| futures::future::ready(schema::conform(&batch, &wanted).map_err(Error::from)))
        .boxed();
    Ok((columns, stream))
}

async fn open(
    bucket: TenantBucket,
    path: object_store::path::Path,
    bytes: u64,
    batch_rows: usize,
) -> Result<BoxStream<'static, Result<RecordBatch, Error>>, Error> {
    let reader = ParquetObjectReader::new(Arc::clone(bucket.store()), path).with_file_size(bytes);
    let builder = ParquetRecordBatchStreamBuilder::new(reader).await.map_err(Error::stored)?;
    let rows = crate::intake::parquet::batch_rows(builder.metadata(), batch_rows);
    let stream = builder.with_batch_size(rows).build().map_err(Error::stored)?;
    Ok(stream.map_err(Error::stored).boxed())
}
