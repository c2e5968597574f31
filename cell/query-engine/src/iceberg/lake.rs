//! Tables of the cell's catalog, read from the cell's bucket.

use std::sync::Arc;

use async_trait::async_trait;
use contracts::TenantId;
use contracts::claims::scope::ALL;
use datafusion::arrow::datatypes::SchemaRef;
use iceberg::spec::TableMetadata;
use kit::{Actor, Scope};
use lakehouse::{Bucket, Catalog, LoadedTable, Namespace};
use moka::future::Cache;

use super::kept::KeptRanges;
use super::known::KnownTables;
use super::table::IcebergTable;
use crate::source::{Pin, Resolved, TableName, TableSource};
use crate::{Error, Result};

/// Separates a table from a snapshot's id in a quoted name: `"flights#8741236591"`. The catalog
/// allows the sign in no name.
const AT_SNAPSHOT: char = '#';
/// Column metrics kept over all tables; about 100 bytes each.
const CACHED_METRICS: u64 = 2_000_000;

/// A table's name as written, split into the table and the snapshot asked for.
pub(super) fn reference(name: &str) -> Option<(&str, Option<i64>)> {
    match name.split_once(AT_SNAPSHOT) {
        None => Some((name, None)),
        Some((base, id)) => Some((base, Some(id.parse().ok()?))),
    }
}

/// A table as the catalog knows it now.
pub(super) struct Loaded {
    pub table: LoadedTable,
}

impl Loaded {
    /// The snapshot to read: the one asked for, if the table has it, else the current one, if there
    /// is any.
    pub fn chosen(&self, asked: Option<i64>) -> Option<Option<i64>> {
        match asked {
            None => Some(self.table.metadata.current_snapshot_id()),
            Some(id) => self.table.metadata.snapshot_by_id(id).map(|_| Some(id)),
        }
    }
}

/// A metadata file is immutable, so the key changes whenever the table does and an entry is never
/// stale. The tenant is part of the key: knowing a location is not owning it.
type Key = (TenantId, String, Option<i64>);

/// The cell's Iceberg tables, one tenant at a time.
pub struct Lake {
    /// Name of the service that reads.
    reader: &'static str,
    known: KnownTables,
    bucket: Bucket,
    tables: Cache<Key, Arc<IcebergTable>>,
}

impl std::fmt::Debug for Lake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lake")
    }
}

impl Lake {
    /// `reader` is the service's own name: whoever may query need not hold the catalog's scopes too,
    /// so the catalog is asked by the service, for the caller's tenant.
    pub fn new(reader: &'static str, catalog: Catalog, bucket: Bucket) -> Self {
        let tables = Cache::builder()
            .max_capacity(CACHED_METRICS)
            .weigher(|_, table: &Arc<IcebergTable>| table.weight())
            .build();
        Self { reader, known: KnownTables::new(catalog), bucket, tables }
    }

    /// The same, with up to `bytes` of data files kept in memory between statements.
    pub fn keeping(self, bytes: u64) -> Self {
        let store = KeptRanges::new(Arc::clone(self.bucket.store()), bytes);
        Self { bucket: Bucket::over(Arc::new(store), self.bucket.name()), ..self }
    }

    fn as_reader(&self, scope: &Scope) -> Scope {
        Scope { actor: Actor::Service(self.reader.to_owned()), scopes: ALL.to_owned(), ..scope.clone() }
    }

    /// What the catalog says of a table now; a name the catalog cannot have is no table.
    pub(super) async fn load(&self, scope: &Scope, namespace: &str, table: &str) -> Result<Option<Loaded>> {
        let Ok(namespace) = namespace.parse::<Namespace>() else { return Ok(None) };
        let Ok(name) = lakehouse::TableName::new(namespace, table) else { return Ok(None) };
        match self.known.load(&self.as_reader(scope), &name).await {
            Ok(table) => Ok(Some(Loaded { table })),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(Error::catalog(error)),
        }
    }

    async fn cached(&self, scope: &Scope, pin: &Pin, metadata: Option<&TableMetadata>) -> Result<Resolved> {
        let key = (scope.tenant.clone(), pin.metadata_location.clone(), pin.snapshot_id);
        let provider = match self.tables.get(&key).await {
            Some(table) => table,
            None => {
                let bucket = self.bucket.tenant(&scope.tenant);
                let table = match metadata {
                    Some(metadata) => IcebergTable::open(&scope.tenant, &bucket, metadata, pin.snapshot_id).await?,
                    None => {
                        let metadata = self.read(scope, pin).await?;
                        IcebergTable::open(&scope.tenant, &bucket, &metadata, pin.snapshot_id).await?
                    }
                };
                let table = Arc::new(table);
                self.tables.insert(key, Arc::clone(&table)).await;
                table
            }
        };
        Ok(Resolved { weight: provider.weight(), provider, pin: pin.clone() })
    }

    async fn read(&self, scope: &Scope, pin: &Pin) -> Result<TableMetadata> {
        let bytes = self.bucket.tenant(&scope.tenant).get(&pin.metadata_location).await.map_err(Error::catalog)?;
        serde_json::from_slice(&bytes).map_err(|error| Error::Storage(Box::new(error)))
    }
}

#[async_trait]
impl TableSource for Lake {
    async fn namespaces(&self, scope: &Scope) -> Result<Vec<String>> {
        let scope = &self.as_reader(scope);
        let mut found = Vec::new();
        let mut open = vec![None];
        while let Some(parent) = open.pop() {
            for namespace in self.known.catalog().namespaces(scope, parent.as_ref()).await.map_err(Error::catalog)? {
                found.push(namespace.to_string());
                open.push(Some(namespace));
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    async fn tables(&self, scope: &Scope, namespace: &str) -> Result<Vec<String>> {
        let Ok(namespace) = namespace.parse::<Namespace>() else { return Ok(Vec::new()) };
        match self.known.catalog().tables(&self.as_reader(scope), &namespace).await {
            Ok(tables) => Ok(tables.iter().map(|table| table.name().to_owned()).collect()),
            Err(error) if error.is_not_found() => Ok(Vec::new()),
            Err(error) => Err(Error::catalog(error)),
        }
    }

    async fn table(&self, scope: &Scope, name: &TableName) -> Result<Option<Resolved>> {
        let Some((base, snapshot)) = reference(&name.table) else { return Ok(None) };
        let Some(loaded) = self.load(scope, &name.namespace, base).await? else { return Ok(None) };
        let Some(snapshot_id) = loaded.chosen(snapshot) else { return Ok(None) };
        let Loaded { table } = loaded;
        let pin = Pin { name: name.clone(), metadata_location: table.metadata_location, snapshot_id };
        self.cached(scope, &pin, Some(&table.metadata)).await.map(Some)
    }

    async fn schema(&self, scope: &Scope, name: &TableName) -> Result<Option<SchemaRef>> {
        let Some(loaded) = self.load(scope, &name.namespace, &name.table).await? else { return Ok(None) };
        lakehouse::schema::to_arrow(loaded.table.metadata.current_schema()).map(Some).map_err(Error::catalog)
    }

    async fn pinned(&self, scope: &Scope, pin: &Pin) -> Result<Option<Resolved>> {
        self.cached(scope, pin, None).await.map(Some)
    }
}
