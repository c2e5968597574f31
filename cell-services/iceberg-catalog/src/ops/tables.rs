//! Tables: everything but commits.

use std::sync::Arc;

use kit::Scope;
use kit::database::Tx;
use lakehouse::{Namespace, TableName, TenantBucket};
use uuid::Uuid;

use super::commit::Key;
use super::namespaces::must_exist;
use super::{Catalog, MetadataFile, Need};
use crate::domain::creation::{self, NewTable};
use crate::domain::{location, reserved};
use crate::error::{Error, Result};
use crate::events::{self, Outcome};
use crate::store::{self, TableRow};

/// A table as it is answered.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub file: Arc<MetadataFile>,
    /// False for a staged creation: nothing is stored yet.
    pub stored: bool,
}

/// Where a page begins and how many rows to read: one more than its size, to see whether there are more.
pub(super) fn window(page: Option<(String, usize)>) -> (String, Option<i64>) {
    match page {
        Some((after, size)) => (after, Some(i64::try_from(size).unwrap_or(i64::MAX - 1) + 1)),
        None => (String::new(), None),
    }
}

async fn table(tx: &mut Tx, scope: &Scope, name: &TableName) -> Result<TableRow> {
    store::table(tx, scope, name).await?.ok_or(Error::NoSuchTable)
}

impl Catalog {
    pub async fn tables(
        &self,
        scope: &Scope,
        warehouse: &str,
        namespace: &Namespace,
        page: Option<(String, usize)>,
    ) -> Result<Vec<TableName>> {
        self.allow(scope, warehouse, Need::Read, "catalog.table.list", &namespace.to_string()).await?;
        let mut tx = self.database.begin(scope).await?;
        let id = must_exist(&mut tx, scope, namespace).await?.id;
        let (after, limit) = window(page);
        let names = store::tables(&mut tx, scope, id, &after, limit).await?;
        names
            .into_iter()
            .map(|name| TableName::new(namespace.clone(), name).map_err(|_| Error::Damaged("a table's name")))
            .collect()
    }

    pub async fn table_exists(&self, scope: &Scope, warehouse: &str, name: &TableName) -> Result<()> {
        self.allow(scope, warehouse, Need::Read, "catalog.table.load", &name.to_string()).await?;
        let mut tx = self.database.begin(scope).await?;
        table(&mut tx, scope, name).await.map(drop)
    }

    /// Where the table's current metadata lies; it also tells whether a client's copy is current.
    pub async fn pointer(&self, scope: &Scope, warehouse: &str, name: &TableName) -> Result<String> {
        self.allow(scope, warehouse, Need::Read, "catalog.table.load", &name.to_string()).await?;
        let mut tx = self.database.begin(scope).await?;
        Ok(table(&mut tx, scope, name).await?.metadata_location)
    }

    /// The metadata a pointer of this tenant leads to.
    pub async fn at(&self, scope: &Scope, pointer: &str) -> Result<Loaded> {
        let file = self.files.load(&self.bucket.tenant(&scope.tenant), pointer).await?;
        Ok(Loaded { file, stored: true })
    }

    pub async fn create_table(
        &self,
        scope: &Scope,
        warehouse: &str,
        namespace: &Namespace,
        request: NewTable,
        key: Option<Key>,
    ) -> Result<Loaded> {
        let name = TableName::new(namespace.clone(), request.name.clone())
            .map_err(|error| Error::Invalid(error.to_string()))?;
        self.allow(scope, warehouse, Need::Write, "catalog.table.create", &name.to_string()).await?;
        let bucket = self.bucket.tenant(&scope.tenant);
        let staged = request.stage_create;
        let made = first_metadata(scope, &bucket, &name, request)?;
        if let Some(loaded) = self.check_creation(scope, &name, staged, key.as_ref()).await? {
            return Ok(loaded);
        }
        if staged {
            let file = Arc::new(MetadataFile::new(String::new(), made)?);
            return Ok(Loaded { file, stored: false });
        }
        let at = location::of_metadata(made.location(), 0, Uuid::now_v7());
        let file = Arc::new(MetadataFile::new(at, made)?);
        let outcome = self.store_new(scope, &bucket, &name, file, "catalog.table.create", key.as_ref()).await;
        // A twin of this request came first under the same key: its answer is ours too.
        if matches!(outcome, Err(Error::Raced))
            && let Some(loaded) = self.check_creation(scope, &name, staged, key.as_ref()).await?
        {
            return Ok(loaded);
        }
        outcome
    }

    /// An earlier answer to the same key, or `None` when the table may be made.
    async fn check_creation(
        &self,
        scope: &Scope,
        name: &TableName,
        staged: bool,
        key: Option<&Key>,
    ) -> Result<Option<Loaded>> {
        let mut tx = self.database.begin(scope).await?;
        let taken = store::table(&mut tx, scope, name).await?.is_some();
        // After the look at the table: a twin that has made it by now has left its answer with it.
        if let (false, Some(key)) = (staged, key)
            && let Some(pointer) = key.earlier_answer(&mut tx, scope).await?
        {
            drop(tx);
            let pointer = pointer.ok_or(Error::Damaged("an answer without its table"))?;
            return self.at(scope, &pointer).await.map(Some);
        }
        must_exist(&mut tx, scope, name.namespace()).await?;
        if taken {
            return Err(Error::TableExists);
        }
        if store::count_tables(&mut tx, scope).await? >= i64::from(self.settings.max_tables_per_tenant) {
            return Err(Error::Limit { what: "tables", limit: self.settings.max_tables_per_tenant });
        }
        Ok(None)
    }

    async fn store_new(
        &self,
        scope: &Scope,
        bucket: &TenantBucket,
        name: &TableName,
        file: Arc<MetadataFile>,
        action: &'static str,
        key: Option<&Key>,
    ) -> Result<Loaded> {
        self.files.write(bucket, &file).await?;
        match self.insert(scope, name, &file, action, key).await {
            Ok(()) => Ok(Loaded { file, stored: true }),
            Err(error) => {
                if !matches!(error, Error::CommitUnknown(_)) {
                    self.files.discard(bucket, &file.location).await;
                }
                Err(error)
            }
        }
    }

    async fn insert(
        &self,
        scope: &Scope,
        name: &TableName,
        file: &MetadataFile,
        action: &'static str,
        key: Option<&Key>,
    ) -> Result<()> {
        let row = TableRow {
            id: Uuid::now_v7(),
            location: file.metadata.location().to_owned(),
            metadata_location: file.location.clone(),
            metadata_version: 0,
        };
        let mut tx = self.database.begin(scope).await?;
        if let Some(key) = key
            && !key.claim(&mut tx, scope, Some(&file.location)).await?
        {
            return Err(Error::Raced);
        }
        let namespace = must_exist(&mut tx, scope, name.namespace()).await?;
        store::insert_table(&mut tx, scope, namespace.id, name.name(), &row).await?;
        events::committed(&mut tx, scope, name, &row, &file.metadata).await?;
        events::audited(&mut tx, scope, action, &name.to_string(), Outcome::Allowed(200)).await?;
        tx.commit().await.map_err(Error::CommitUnknown)
    }

    /// Puts an existing metadata file under a name; `overwrite` lets it replace the table of that name.
    pub async fn register(
        &self,
        scope: &Scope,
        warehouse: &str,
        name: &TableName,
        pointer: &str,
        overwrite: bool,
    ) -> Result<Loaded> {
        self.allow(scope, warehouse, Need::Write, "catalog.table.register", &name.to_string()).await?;
        let bucket = self.bucket.tenant(&scope.tenant);
        location::check(&bucket, pointer)?;
        let file = self.files.load(&bucket, pointer).await.map_err(|error| match error {
            Error::Warehouse(source) if source.is_not_found() => {
                Error::Invalid("there is no metadata file at this location".to_owned())
            }
            Error::Unreadable(_) => Error::Invalid("the file at this location is no table metadata".to_owned()),
            other => other,
        })?;
        location::check_metadata(&bucket, &file.metadata)?;
        let mut tx = self.database.begin(scope).await?;
        let namespace = must_exist(&mut tx, scope, name.namespace()).await?;
        let old = store::table(&mut tx, scope, name).await?;
        let mut row = TableRow {
            id: Uuid::now_v7(),
            location: file.metadata.location().to_owned(),
            metadata_location: pointer.to_owned(),
            metadata_version: 0,
        };
        match old {
            Some(_) if !overwrite => return Err(Error::TableExists),
            Some(old) => {
                (row.id, row.metadata_version) = (old.id, old.metadata_version + 1);
                if !store::move_pointer(&mut tx, scope, &old.metadata_location, &row).await? {
                    return Err(Error::Raced);
                }
            }
            None => store::insert_table(&mut tx, scope, namespace.id, name.name(), &row).await?,
        }
        events::committed(&mut tx, scope, name, &row, &file.metadata).await?;
        events::audited(&mut tx, scope, "catalog.table.register", &name.to_string(), Outcome::Allowed(200)).await?;
        tx.commit().await.map_err(Error::CommitUnknown)?;
        Ok(Loaded { file, stored: true })
    }

    pub async fn rename(&self, scope: &Scope, warehouse: &str, from: &TableName, to: &TableName) -> Result<()> {
        self.allow(scope, warehouse, Need::Write, "catalog.table.rename", &from.to_string()).await?;
        let mut tx = self.database.begin(scope).await?;
        let row = table(&mut tx, scope, from).await?;
        let namespace = must_exist(&mut tx, scope, to.namespace()).await?;
        store::rename_table(&mut tx, scope, row.id, namespace.id, to.name()).await?;
        events::audited(&mut tx, scope, "catalog.table.rename", &format!("{from} -> {to}"), Outcome::Allowed(204))
            .await?;
        Ok(tx.commit().await?)
    }

    /// Takes the table out of the catalog. With `purge` its folder in the bucket is deleted as well,
    /// unless another table has files there or the folder is not one of the warehouse's.
    pub async fn drop_table(&self, scope: &Scope, warehouse: &str, name: &TableName, purge: bool) -> Result<()> {
        self.allow(scope, warehouse, Need::Write, "catalog.table.drop", &name.to_string()).await?;
        let mut tx = self.database.begin(scope).await?;
        let row = table(&mut tx, scope, name).await?;
        if !store::delete_table(&mut tx, scope, row.id).await? {
            return Err(Error::NoSuchTable);
        }
        let shared = purge && store::location_is_shared(&mut tx, scope, row.location.trim_end_matches('/')).await?;
        let action = if purge { "catalog.table.purge" } else { "catalog.table.drop" };
        events::audited(&mut tx, scope, action, &name.to_string(), Outcome::Allowed(204)).await?;
        tx.commit().await?;
        let ours = row.location.starts_with(&self.bucket.tenant(&scope.tenant).location("iceberg/"));
        if purge && ours && !shared {
            self.delete_files(scope, &row.location).await;
        }
        Ok(())
    }

    /// The table is gone already; files that cannot be deleted now are litter, not data.
    async fn delete_files(&self, scope: &Scope, at: &str) {
        let bucket = self.bucket.tenant(&scope.tenant);
        if let Err(error) = bucket.file_io().delete_prefix(at.trim_end_matches('/')).await {
            tracing::warn!(location = at, error = %kit::fault::chain(&error), "a purged table's files could not all be deleted");
        }
    }
}

fn first_metadata(
    scope: &Scope,
    bucket: &TenantBucket,
    name: &TableName,
    request: NewTable,
) -> Result<iceberg::spec::TableMetadata> {
    let id = Uuid::now_v7();
    let at = match &request.location {
        Some(chosen) => chosen.trim_end_matches('/').to_owned(),
        None => location::of_new_table(bucket, name, id),
    };
    location::check(bucket, &at)?;
    if let Some(properties) = &request.properties {
        location::check_properties(bucket, properties.iter())?;
        reserved::check_properties(scope, properties.keys())?;
    }
    creation::from_request(request, id, at)
}
