//! One snapshot of one Iceberg table, as DataFusion reads it.

use std::sync::Arc;

use async_trait::async_trait;
use contracts::TenantId;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DFSchema, Statistics};
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use iceberg::spec::TableMetadata;
use lakehouse::TenantBucket;
use object_store::ObjectStore;

use super::evolution::ByFieldId;
use super::pruning;
use super::reader::BoundedReaders;
use super::statistics::TableFile;
use crate::{Error, Result};

/// Bytes read from a file's end at first: the footer of most files, in one request.
const FOOTER_BYTES: usize = 64 * 1024;

/// Files, schema and statistics of a table at one snapshot. Immutable, so it can be kept for as
/// long as anybody asks for that snapshot.
#[derive(Debug)]
pub struct IcebergTable {
    schema: SchemaRef,
    files: Vec<TableFile>,
    statistics: Statistics,
    store: Arc<dyn ObjectStore>,
    /// Names `store` in a statement's runtime; differs from tenant to tenant.
    store_url: ObjectStoreUrl,
    /// Whether some file may have been written under another schema.
    evolved: bool,
}

impl IcebergTable {
    /// Reads the snapshot's manifests; `None` is a table without rows.
    pub async fn open(
        tenant: &TenantId,
        bucket: &TenantBucket,
        metadata: &TableMetadata,
        snapshot_id: Option<i64>,
    ) -> Result<Self> {
        let schema = schema_at(metadata, snapshot_id)?;
        let files = match snapshot_id {
            None => Vec::new(),
            Some(_) => lakehouse::scan::files(bucket, metadata, snapshot_id).await.map_err(Error::catalog)?,
        };
        let files: Vec<TableFile> = files.iter().map(|file| TableFile::new(file, &schema)).collect();
        let statistics = match files.is_empty() {
            true => no_rows(&schema),
            false => Statistics::try_merge_iter(files.iter().map(|file| file.statistics.as_ref()), &schema)?,
        };
        Ok(Self {
            schema,
            files,
            statistics,
            store: Arc::clone(bucket.store()),
            store_url: ObjectStoreUrl::parse(format!("iceberg://{tenant}"))?,
            evolved: metadata.schemas_iter().len() > 1,
        })
    }

    /// What it costs to keep, in column metrics.
    pub(crate) fn weight(&self) -> u32 {
        u32::try_from((self.files.len() + 1) * (self.schema.fields().len() + 1)).unwrap_or(u32::MAX)
    }

    fn source(&self, state: &dyn Session, selective: bool) -> ParquetSource {
        let cache = state.runtime_env().cache_manager.get_file_metadata_cache();
        let reader = BoundedReaders(CachedParquetFileReaderFactory::new(Arc::clone(&self.store), cache));
        ParquetSource::new(Arc::clone(&self.schema))
            .with_table_parquet_options(state.table_options().parquet.clone())
            .with_metadata_size_hint(FOOTER_BYTES)
            .with_parquet_file_reader_factory(Arc::new(reader))
            .with_pushdown_filters(selective)
    }

    /// The filters as one expression over the table's columns.
    fn filter(&self, state: &dyn Session, filters: &[Expr]) -> DataFusionResult<Option<Arc<dyn PhysicalExpr>>> {
        let Some(filter) = conjunction(filters.to_vec()) else { return Ok(None) };
        let columns = DFSchema::try_from(Arc::clone(&self.schema))?;
        state.create_physical_expr(filter, &columns).map(Some)
    }
}

/// Columns of a table at a snapshot, with their field ids.
pub(super) fn schema_at(metadata: &TableMetadata, snapshot_id: Option<i64>) -> Result<SchemaRef> {
    let snapshot = snapshot_id.and_then(|id| metadata.snapshot_by_id(id));
    // The current snapshot is read under the current schema: a column added since is null in it.
    let older = snapshot.filter(|_| snapshot_id != metadata.current_snapshot_id());
    let schema = older.and_then(|snapshot| snapshot.schema(metadata).ok());
    let schema = schema.unwrap_or_else(|| Arc::clone(metadata.current_schema()));
    lakehouse::schema::to_arrow(&schema).map_err(Error::catalog)
}

fn no_rows(schema: &SchemaRef) -> Statistics {
    use datafusion::common::stats::Precision::Exact;
    let mut statistics = Statistics::new_unknown(schema).with_num_rows(Exact(0)).with_total_byte_size(Exact(0));
    statistics.column_statistics.iter_mut().for_each(|column| column.null_count = Exact(0));
    statistics
}

/// Statistics of each group and of all, from those of their files.
fn summed_up(groups: Vec<FileGroup>, schema: &SchemaRef) -> DataFusionResult<(Vec<FileGroup>, Statistics)> {
    let merged = |group: &FileGroup| {
        Statistics::try_merge_iter(group.iter().filter_map(|file| file.statistics.as_deref()), schema)
    };
    let parts = groups.iter().map(merged).collect::<DataFusionResult<Vec<_>>>()?;
    let all = Statistics::try_merge_iter(&parts, schema)?;
    let groups = groups.into_iter().zip(parts).map(|(group, part)| group.with_statistics(Arc::new(part))).collect();
    Ok((groups, all))
}

#[async_trait]
impl TableProvider for IcebergTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn statistics(&self) -> Option<Statistics> {
        Some(self.statistics.clone())
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DataFusionResult<Vec<TableProviderFilterPushDown>> {
        // Files and row groups are ruled out as a whole; rows are still filtered above the scan.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let filter = self.filter(state, filters)?;
        let files = pruning::kept(&self.files, &self.schema, filter.as_ref())?;
        if files.is_empty() {
            let schema = datafusion::physical_plan::project_schema(&self.schema, projection)?;
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        let selective =
            filter.as_ref().is_some_and(|f| pruning::is_selective(filters, f, &self.schema, &self.statistics));
        state.runtime_env().register_object_store(self.store_url.as_ref(), Arc::clone(&self.store));
        let files = files.into_iter().map(|file| {
            let mut read = PartitionedFile::new("", file.size).with_statistics(Arc::clone(&file.statistics));
            read.object_meta.location = file.path.clone();
            read
        });
        let groups = FileGroup::new(files.collect()).split_files(state.config().target_partitions());
        let (groups, statistics) = summed_up(groups, &self.schema)?;
        let source = Arc::new(self.source(state, selective));
        let config = FileScanConfigBuilder::new(self.store_url.clone(), source)
            .with_file_groups(groups)
            .with_statistics(statistics)
            .with_projection_indices(projection.cloned())?
            // A limit below a filter would cut rows that the filter never saw.
            .with_limit(limit.filter(|_| filters.is_empty()))
            .with_expr_adapter(self.evolved.then(|| Arc::new(ByFieldId) as _))
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}
