//! Readers of data files. A tenant's own clients may have written them: no page unpacks to more than there is room for.

use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::ParquetFileReaderFactory;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::error::Result;
use datafusion::parquet::arrow::async_reader::AsyncFileReader;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use lakehouse::pages::{BoundedPages, UNPACKED_BYTES};

#[derive(Debug)]
pub(super) struct BoundedReaders(pub CachedParquetFileReaderFactory);

impl ParquetFileReaderFactory for BoundedReaders {
    fn create_reader(
        &self,
        partition: usize,
        file: PartitionedFile,
        footer_bytes: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        let reader = self.0.create_reader(partition, file, footer_bytes, metrics)?;
        Ok(Box::new(BoundedPages::new(reader, UNPACKED_BYTES)))
    }
}
