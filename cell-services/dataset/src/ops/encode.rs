//! Rows to CSV, NDJSON and Parquet, a batch at a time.

use std::io::Write;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::csv::WriterBuilder as CsvWriterBuilder;
use arrow::datatypes::SchemaRef;
use arrow::json::LineDelimitedWriter;
use parking_lot::Mutex;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::domain::Format;
use crate::error::Error;

const ROW_GROUP_ROWS: usize = 64 * 1024;
/// A row group is in memory until it is complete.
const ROW_GROUP_BYTES: usize = 64 << 20;

/// Bytes that the Parquet writer has let go of.
#[derive(Clone, Default)]
pub struct Outlet(Arc<Mutex<Vec<u8>>>);

impl Write for Outlet {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Outlet {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock())
    }
}

/// An encoder of one download.
pub enum Encoder {
    Csv { schema: SchemaRef, header_sent: bool },
    Ndjson,
    Parquet { writer: Box<ArrowWriter<Outlet>>, outlet: Outlet },
}

impl Encoder {
    pub fn new(format: Format, schema: &SchemaRef) -> Result<Self, Error> {
        Ok(match format {
            Format::Csv => Self::Csv { schema: Arc::clone(schema), header_sent: false },
            Format::Ndjson => Self::Ndjson,
            Format::Parquet => {
                let outlet = Outlet::default();
                let properties = WriterProperties::builder()
                    .set_compression(Compression::ZSTD(ZstdLevel::default()))
                    .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
                    .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
                    .build();
                let writer = ArrowWriter::try_new(outlet.clone(), Arc::clone(schema), Some(properties))
                    .map_err(Error::stored)?;
                Self::Parquet { writer: Box::new(writer), outlet }
            }
        })
    }

    /// Bytes that can be sent after this batch; may be none.
    pub fn encode(&mut self, batch: &RecordBatch) -> Result<Vec<u8>, Error> {
        match self {
            Self::Csv { header_sent, .. } => {
                let header = !std::mem::replace(header_sent, true);
                csv(batch, header)
            }
            Self::Ndjson => {
                let mut bytes = Vec::new();
                let mut writer = LineDelimitedWriter::new(&mut bytes);
                writer.write(batch).map_err(Error::stored)?;
                writer.finish().map_err(Error::stored)?;
                drop(writer);
                Ok(bytes)
            }
            Self::Parquet { writer, outlet } => {
                writer.write(batch).map_err(Error::stored)?;
                Ok(outlet.take())
            }
        }
    }

    /// The last bytes.
    pub fn finish(self) -> Result<Vec<u8>, Error> {
        match self {
            Self::Csv { header_sent: true, .. } | Self::Ndjson => Ok(Vec::new()),
            Self::Csv { schema, .. } => csv(&RecordBatch::new_empty(schema), true),
            Self::Parquet { writer, outlet } => {
                writer.close().map_err(Error::stored)?;
                Ok(outlet.take())
            }
        }
    }
}

fn csv(batch: &RecordBatch, header: bool) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let mut writer = CsvWriterBuilder::new().with_header(header).build(&mut bytes);
    // A null and an empty text are both written as nothing; NDJSON and Parquet tell them apart.
    writer.write(batch).map_err(Error::stored)?;
    drop(writer);
    Ok(bytes)
}
