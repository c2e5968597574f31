//! Collecting files that no table of a tenant knows.

use std::collections::BTreeSet;

use kit::Scope;
use lakehouse::orphans::{self, Known};
use object_store::path::Path;
use time::OffsetDateTime;

use super::Catalog;
use crate::error::Result;
use crate::store;

/// Files of one tenant's tables that are held in memory; about 400 MiB.
const MOST_FILES: usize = 2_000_000;

impl Catalog {
    /// Deletes what lies below the tenant's tables, was not changed since `before`, and is known to none of them.
    /// Answers how many files there were.
    ///
    /// Files are listed before the tables are read: what is committed meanwhile is known by then. All of the tenant's
    /// tables are asked, because one may be registered under two names.
    pub async fn collect_orphans(&self, scope: &Scope, before: OffsetDateTime) -> Result<usize> {
        let bucket = self.bucket.tenant(&scope.tenant);
        let mut aged = Vec::new();
        for location in self.locations(scope).await? {
            for file in orphans::aged(&bucket, &location, before).await? {
                aged.push((location.clone(), file));
            }
        }
        if aged.is_empty() {
            return Ok(0);
        }
        // What was below a table that is dropped by now is its owner's.
        let lasting = self.locations(scope).await?;
        let mut known = Known::up_to(MOST_FILES);
        for pointer in self.pointers(scope).await? {
            let file = self.files.load(&bucket, &pointer).await?;
            known.add(&bucket, &pointer, &file.metadata).await?;
        }
        let is_orphan = |(location, file): &(String, Path)| lasting.contains(location) && !known.contains(file);
        let orphans: Vec<Path> = aged.into_iter().filter(is_orphan).map(|(_, file)| file).collect();
        orphans::delete(&bucket, &orphans).await?;
        self.counters.orphans.inc_by(orphans.len() as u64);
        Ok(orphans.len())
    }

    async fn locations(&self, scope: &Scope) -> Result<BTreeSet<String>> {
        let mut tx = self.database.begin(scope).await?;
        Ok(store::all_tables(&mut tx, scope).await?.into_iter().map(|table| table.location).collect())
    }

    async fn pointers(&self, scope: &Scope) -> Result<BTreeSet<String>> {
        let mut tx = self.database.begin(scope).await?;
        Ok(store::all_tables(&mut tx, scope).await?.into_iter().map(|table| table.metadata_location).collect())
    }
}
