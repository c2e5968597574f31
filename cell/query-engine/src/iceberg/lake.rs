//! Tables of the cell's catalog, read from the cell's bucket.

use std::sync::Arc;

use async_trait::async_trait;
use contracts::TenantId;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::execution::object_store::ObjectStoreUrl;
use iceberg::spec::TableMetadata;
use kit::Scope;
use lakehouse::{Bucket, Catalog, LoadedTable, Namespace};
use moka::future::Cache;

use super::statistics::TableFile;
use super::table::IcebergTable;
use crate::source::{Pin, Resolved, TableName, TableSource};
use crate::{Error, Result};

/// Separates a table from a snapshot's id in a quoted name: `"flights#8741236591"`. The catalog
/// allows the sign in no name.
const AT_SNAPSHOT: char = '#';
/// Column metrics kept over all tables; about 100 bytes each.
const CACHED_METRICS: u64 = 2_000_000;

/// A metadata file is immutable, so the key changes whenever the table does and an entry is never
/// stale. The tenant is part of the key: knowing a location is not owning it.
type Key = (TenantId, String, Option<i64>);

/// The cell's Iceberg tables, one tenant at a time.
pub struct Lake {
    catalog: Catalog,
    bucket: Bucket,
    tables: Cache<Key, Arc<IcebergTable>>,
}

impl std::fmt::Debug for Lake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lake")
    }
}

impl Lake {
    pub fn new(catalog: Catalog, bucket: Bucket) -> Self {
        let tables = Cache::builder()
            .max_capacity(CACHED_METRICS)
            .weigher(|_, table: &Arc<IcebergTable>| table.weight())
            .build();
        Self { catalog, bucket, tables }
    }

    async fn build(&self, scope: &Scope, metadata: &TableMetadata, snapshot_id: Option<i64>) -> Result<Arc<IcebergTable>> {
        let bucket = self.bucket.tenant(&scope.tenant);
        let snapshot = snapshot_id.and_then(|id| metadata.snapshot_by_id(id));
        let schema = snapshot.and_then(|s| s.schema(metadata).ok()).unwrap_or_else(|| metadata.current_schema().clone());
        let arrow = lakehouse::schema::to_arrow(&schema).map_err(Error::catalog)?;
        let files = match snapshot_id {
            None => Vec::new(),
            Some(_) => lakehouse::scan::files(&bucket, metadata, snapshot_id).await.map_err(Error::catalog)?,
        };
        let files = files.iter().map(|file| TableFile::new(file, &arrow)).collect();
        let evolved = metadata.schemas_iter().len() > 1;
        let url = ObjectStoreUrl::parse(format!("iceberg://{}", scope.tenant))?;
        Ok(Arc::new(IcebergTable::new(arrow, files, Arc::clone(bucket.store()), url, evolved)?))
    }

    /// What the catalog says of a table now; a name the catalog cannot have is no table.
    async fn load(&self, scope: &Scope, namespace: &str, table: &str) -> Result<Option<LoadedTable>> {
        let Ok(namespace) = namespace.parse::<Namespace>() else { return Ok(None) };
        let Ok(name) = lakehouse::TableName::new(namespace, table) else { return Ok(None) };
        match self.catalog.load(scope, &name).await {
            Ok(loaded) => Ok(Some(loaded)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(Error::catalog(error)),
        }
    }

    async fn cached(&self, scope: &Scope, pin: &Pin, metadata: Option<&TableMetadata>) -> Result<Resolved> {
        let key = (scope.tenant.clone(), pin.metadata_location.clone(), pin.snapshot_id);
        let provider = match self.tables.get(&key).await {
            Some(table) => table,
            None => {
                let table = match metadata {
                    Some(metadata) => self.build(scope, metadata, pin.snapshot_id).await?,
                    None => self.build(scope, &self.read(scope, pin).await?, pin.snapshot_id).await?,
                };
                self.tables.insert(key, Arc::clone(&table)).await;
                table
            }
        };
        Ok(Resolved { provider, pin: pin.clone() })
    }

    async fn read(&self, scope: &Scope, pin: &Pin) -> Result<TableMetadata> {
        let bytes = self.bucket.tenant(&scope.tenant).get(&pin.metadata_location).await.map_err(Error::catalog)?;
        serde_json::from_slice(&bytes).map_err(|error| Error::Storage(Box::new(error)))
    }
}

#[async_trait]
impl TableSource for Lake {
    async fn namespaces(&self, scope: &Scope) -> Result<Vec<String>> {
        let mut found = Vec::new();
        let mut open = vec![None];
        while let Some(parent) = open.pop() {
            for namespace in self.catalog.namespaces(scope, parent.as_ref()).await.map_err(Error::catalog)? {
                found.push(namespace.to_string());
                open.push(Some(namespace));
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    async fn tables(&self, scope: &Scope, namespace: &str) -> Result<Vec<String>> {
        let Ok(namespace) = namespace.parse::<Namespace>() else { return Ok(Vec::new()) };
        match self.catalog.tables(scope, &namespace).await {
            Ok(tables) => Ok(tables.iter().map(|table| table.name().to_owned()).collect()),
            Err(error) if error.is_not_found() => Ok(Vec::new()),
            Err(error) => Err(Error::catalog(error)),
        }
    }

    async fn table(&self, scope: &Scope, name: &TableName) -> Result<Option<Resolved>> {
        let (base, snapshot) = match name.table.split_once(AT_SNAPSHOT) {
            None => (name.table.as_str(), None),
            Some((base, id)) => match id.parse::<i64>() {
                Ok(id) => (base, Some(id)),
                Err(_) => return Ok(None),
            },
        };
        let Some(loaded) = self.load(scope, &name.namespace, base).await? else { return Ok(None) };
        if snapshot.is_some_and(|id| loaded.metadata.snapshot_by_id(id).is_none()) {
            return Ok(None);
        }
        let snapshot_id = snapshot.or(loaded.metadata.current_snapshot_id());
        let pin = Pin { name: name.clone(), metadata_location: loaded.metadata_location, snapshot_id };
        self.cached(scope, &pin, Some(&loaded.metadata)).await.map(Some)
    }

    async fn schema(&self, scope: &Scope, name: &TableName) -> Result<Option<SchemaRef>> {
        let Some(loaded) = self.load(scope, &name.namespace, &name.table).await? else { return Ok(None) };
        lakehouse::schema::to_arrow(loaded.metadata.current_schema()).map(Some).map_err(Error::catalog)
    }

    async fn pinned(&self, scope: &Scope, pin: &Pin) -> Result<Option<Resolved>> {
        self.cached(scope, pin, None).await.map(Some)
    }
}
