//! Rows into Parquet data files.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef as ArrowSchemaRef;
use futures::{Stream, StreamExt};
use iceberg::spec::{DataFile, TableMetadata};
use iceberg::writer::CurrentFileStatus;
use iceberg::writer::file_writer::{FileWriter, FileWriterBuilder, ParquetWriter, ParquetWriterBuilder};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use uuid::Uuid;

use crate::bounds;
use crate::bucket::TenantBucket;
use crate::error::{Error, Result};
use crate::schema;

/// Bounds of what is written. Memory is one row group per open file, plus the upload's parts.
#[derive(Debug, Clone, Copy)]
pub struct WriteOptions {
    pub row_group_rows: usize,
    /// Bytes of a row group before compression.
    pub row_group_bytes: usize,
    /// Bytes after which the next file begins; a file ends up at most one batch larger.
    pub file_bytes: usize,
    /// Rows after which the next file begins.
    pub file_rows: usize,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self {
            row_group_rows: 128 * 1024,
            row_group_bytes: 64 * 1024 * 1024,
            file_bytes: 256 * 1024 * 1024,
            file_rows: 16 * 1024 * 1024,
        }
    }
}

/// Rows per call of the encoder, so that a huge batch does not defeat the bounds above.
const SLICE_ROWS: usize = 16 * 1024;

/// Data files that exist in the bucket and belong to no snapshot yet.
#[derive(Debug, Clone, Default)]
pub struct Written {
    pub files: Vec<DataFile>,
    pub rows: u64,
    /// Bytes of the files.
    pub bytes: u64,
}

impl Written {
    /// Deletes the files again; for rows that will not be committed.
    pub async fn discard(self, bucket: &TenantBucket) {
        let locations = self.files.iter().map(|file| file.file_path().to_owned()).collect();
        discard(bucket, locations).await;
    }
}

/// Takes a list and not an iterator: one with a closure, held across an await, is not `Send` enough
/// for a spawned task.
pub(crate) async fn discard(bucket: &TenantBucket, locations: Vec<String>) {
    for location in locations {
        if let Err(error) = bucket.delete(&location).await {
            tracing::warn!(%location, %error, "an abandoned file could not be deleted");
        }
    }
}

/// Writes a stream of rows as zstd Parquet files under `<table>/data/`, with field ids in the
/// Parquet schema and per-column sizes, counts and bounds in the returned descriptions.
/// On an error nothing that was written stays behind.
pub async fn write_parquet<S, E>(
    bucket: &TenantBucket,
    table: &TableMetadata,
    rows: S,
    options: &WriteOptions,
) -> Result<Written>
where
    S: Stream<Item = std::result::Result<RecordBatch, E>> + Unpin + Send,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut writer = TableWriter::new(bucket, table, *options)?;
    let mut rows = rows;
    let outcome = loop {
        match rows.next().await {
            None => break Ok(()),
            Some(Err(error)) => break Err(Error::Input(error.into())),
            Some(Ok(batch)) => {
                if let Err(error) = writer.write(&batch).await {
                    break Err(error);
                }
            }
        }
    };
    match outcome {
        Ok(()) => writer.finish().await,
        Err(error) => {
            writer.abandon().await;
            Err(error)
        }
    }
}

/// The same, a batch at a time.
pub struct TableWriter {
    bucket: TenantBucket,
    options: WriteOptions,
    builder: ParquetWriterBuilder,
    columns: ArrowSchemaRef,
    /// Names of files begin with it, so that no two writers meet.
    run: Uuid,
    data: String,
    spec: i32,
    started: usize,
    open: Option<ParquetWriter>,
    written: Written,
}

impl TableWriter {
    pub fn new(bucket: &TenantBucket, table: &TableMetadata, options: WriteOptions) -> Result<Self> {
        if !table.default_partition_spec().is_unpartitioned() {
            return Err(Error::Unsupported("writing into a partitioned table"));
        }
        let level = ZstdLevel::try_new(3).unwrap_or_default();
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(level))
            .set_max_row_group_row_count(Some(options.row_group_rows))
            .set_max_row_group_bytes(Some(options.row_group_bytes))
            // A file's bounds are made of its row groups', and one that was cut would be left out there.
            .set_statistics_truncate_length(None)
            .set_created_by("cytoplane".to_owned())
            .build();
        let columns = schema::to_arrow(table.current_schema())?;
        Ok(Self {
            bucket: bucket.clone(),
            options,
            builder: ParquetWriterBuilder::new(properties, table.current_schema().clone()),
            columns,
            run: kit::nature::uuid(),
            data: format!("{}/data", table.location().trim_end_matches('/')),
            spec: table.default_partition_spec_id(),
            started: 0,
            open: None,
            written: Written::default(),
        })
    }

    /// Adds rows; columns are matched by name and cast to the table's types.
    pub async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let batch = schema::conform(batch, &self.columns)?;
        let mut offset = 0;
        while offset < batch.num_rows() {
            let length = SLICE_ROWS.min(batch.num_rows() - offset);
            self.write_slice(&batch.slice(offset, length)).await?;
            offset += length;
        }
        Ok(())
    }

    async fn write_slice(&mut self, slice: &RecordBatch) -> Result<()> {
        let mut writer = match self.open.take() {
            Some(writer) => writer,
            None => self.start().await?,
        };
        writer.write(slice).await?;
        let full = writer.current_written_size() >= self.options.file_bytes
            || writer.current_row_num() >= self.options.file_rows;
        self.open = Some(writer);
        if full { self.roll().await } else { Ok(()) }
    }

    async fn start(&mut self) -> Result<ParquetWriter> {
        let location = format!("{}/{}-{:05}.parquet", self.data, self.run, self.started);
        self.started += 1;
        Ok(self.builder.build(self.bucket.file_io().new_output(location)?).await?)
    }

    async fn roll(&mut self) -> Result<()> {
        let Some(writer) = self.open.take() else { return Ok(()) };
        let incomplete = |_| Error::Unsupported("a data file without its metrics");
        for mut built in writer.close().await? {
            let whole = built.partition_spec_id(self.spec).build().map_err(incomplete)?;
            let file = built
                .lower_bounds(bounds::lower(whole.lower_bounds()))
                .upper_bounds(bounds::upper(whole.upper_bounds()))
                .build()
                .map_err(incomplete)?;
            self.written.rows += file.record_count();
            self.written.bytes += file.file_size_in_bytes();
            self.written.files.push(file);
        }
        Ok(())
    }

    /// Bytes of the file being written, flushed or not.
    pub fn pending_bytes(&self) -> usize {
        self.open.as_ref().map_or(0, CurrentFileStatus::current_written_size)
    }

    /// Closes the last file. Zero rows make zero files.
    pub async fn finish(mut self) -> Result<Written> {
        match self.roll().await {
            Ok(()) => Ok(self.written),
            Err(error) => {
                self.abandon().await;
                Err(error)
            }
        }
    }

    /// Deletes what was written.
    pub async fn abandon(mut self) {
        self.open = None;
        std::mem::take(&mut self.written).discard(&self.bucket).await;
    }
}
