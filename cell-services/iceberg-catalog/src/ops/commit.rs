//! Commits, over one table or several.
//!
//! The new metadata is written first; then one transaction moves every pointer that still stands
//! where the commit was prepared. A pointer that moved meanwhile means: prepare again on what is
//! there now, and let the requirements say whether that is still what the client wanted.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;
use kit::Scope;
use kit::database::Tx;
use lakehouse::{TableName, TenantBucket};
use rand::Rng;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{Catalog, MetadataFile, Need};
use crate::domain::commit::{self, Change};
use crate::domain::{location, reserved};
use crate::error::{Error, Result};
use crate::events::{self, Outcome};
use crate::store::{self, Answered, TableRow};

/// Times a commit is prepared before the client is told to try again itself.
const ATTEMPTS: u32 = 6;

/// One table's part, with its name.
#[derive(Debug, Clone)]
pub struct NamedChange {
    pub name: TableName,
    pub change: Change,
}

/// A client's Idempotency-Key together with what it was sent with.
#[derive(Debug, Clone)]
pub struct Key {
    key: String,
    fingerprint: Vec<u8>,
}

impl Key {
    /// `operation` and `body` make the request; the key alone must not stand for two of them.
    pub fn new(key: &str, operation: &str, body: &[u8]) -> Self {
        let fingerprint =
            Sha256::new().chain_update(operation).chain_update([0]).chain_update(body).finalize().to_vec();
        Self { key: key.to_owned(), fingerprint }
    }

    /// What was answered to this key before: the outer `None` when it is new.
    pub(super) async fn earlier_answer(&self, tx: &mut Tx, scope: &Scope) -> Result<Option<Option<String>>> {
        match store::answered(tx, scope, &self.key).await? {
            None => Ok(None),
            Some(answer) if answer.fingerprint == self.fingerprint => Ok(Some(answer.metadata_location)),
            Some(_) => Err(Error::Unprocessable("the Idempotency-Key was used for another request".to_owned())),
        }
    }

    pub(super) async fn claim(&self, tx: &mut Tx, scope: &Scope, metadata_location: Option<&str>) -> Result<bool> {
        let answer =
            Answered { fingerprint: self.fingerprint.clone(), metadata_location: metadata_location.map(str::to_owned) };
        store::claim(tx, scope, &self.key, &answer).await
    }
}

/// A table's part, ready to be published.
struct Prepared {
    name: TableName,
    /// Where the pointer stands now; `None` when the commit makes the table.
    old: Option<TableRow>,
    row: TableRow,
    file: Arc<MetadataFile>,
    changed: bool,
}

impl Catalog {
    /// Commits all changes or none; answers the metadata of each table after it, in order.
    pub async fn commit(
        &self,
        scope: &Scope,
        warehouse: &str,
        changes: &[NamedChange],
        key: Option<&Key>,
    ) -> Result<Vec<Arc<MetadataFile>>> {
        for NamedChange { name, .. } in changes {
            self.allow(scope, warehouse, Need::Write, "catalog.table.commit", &name.to_string()).await?;
        }
        self.check(scope, changes)?;
        for attempt in 0..ATTEMPTS {
            match self.attempt(scope, changes, key).await {
                Err(Error::Raced) => {
                    self.counters.races.inc();
                    let pause = rand::rng().random_range(0..=10_u64 << attempt);
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                }
                outcome => return outcome,
            }
        }
        Err(Error::Raced)
    }

    fn check(&self, scope: &Scope, changes: &[NamedChange]) -> Result<()> {
        if changes.is_empty() || changes.len() > self.settings.max_tables_per_commit {
            return Err(Error::Invalid(format!(
                "a commit is over 1 to {} tables",
                self.settings.max_tables_per_commit
            )));
        }
        let names: HashSet<&TableName> = changes.iter().map(|part| &part.name).collect();
        if names.len() != changes.len() {
            return Err(Error::Invalid("a table appears twice in one commit".to_owned()));
        }
        let bucket = self.bucket.tenant(&scope.tenant);
        changes.iter().try_for_each(|part| {
            commit::check_locations(&bucket, &part.change)?;
            part.change.updates.iter().try_for_each(|update| reserved::check_update(scope, update))
        })
    }

    async fn attempt(
        &self,
        scope: &Scope,
        changes: &[NamedChange],
        key: Option<&Key>,
    ) -> Result<Vec<Arc<MetadataFile>>> {
        let bucket = self.bucket.tenant(&scope.tenant);
        let mut rows = Vec::with_capacity(changes.len());
        let mut tx = self.database.begin(scope).await?;
        for part in changes {
            rows.push(store::table(&mut tx, scope, &part.name).await?);
        }
        // After the rows: a twin that has moved them by now has left its answer with them.
        if let Some(key) = key
            && let Some(answer) = key.earlier_answer(&mut tx, scope).await?
        {
            drop(tx);
            return self.repeat(scope, answer).await;
        }
        drop(tx);
        let mut prepared = Vec::with_capacity(changes.len());
        for (part, old) in changes.iter().zip(rows) {
            prepared.push(self.prepare(&bucket, part, old).await?);
        }
        let fresh: Vec<&Prepared> = prepared.iter().filter(|part| part.changed).collect();
        let outcome = match try_join_all(fresh.iter().map(|part| self.files.write(&bucket, &part.file))).await {
            Ok(_) => self.publish(scope, &prepared, key).await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(()) => {
                self.counters.commits.inc_by(fresh.len() as u64);
                Ok(prepared.into_iter().map(|part| part.file).collect())
            }
            Err(error) => {
                if !matches!(error, Error::CommitUnknown(_)) {
                    for part in fresh {
                        self.files.discard(&bucket, &part.file.location).await;
                    }
                }
                Err(error)
            }
        }
    }

    async fn repeat(&self, scope: &Scope, answer: Option<String>) -> Result<Vec<Arc<MetadataFile>>> {
        match answer {
            Some(pointer) => Ok(vec![self.at(scope, &pointer).await?.file]),
            None => Ok(Vec::new()),
        }
    }

    async fn prepare(&self, bucket: &TenantBucket, part: &NamedChange, old: Option<TableRow>) -> Result<Prepared> {
        let name = part.name.clone();
        let Some(old) = old else {
            if !part.change.creates() {
                return Err(Error::NoSuchTable);
            }
            let made = commit::on_new(&part.change, &location::of_new_table(bucket, &name, Uuid::now_v7()))?;
            location::check_metadata(bucket, &made)?;
            let (row, file) = next(made, Uuid::now_v7(), 0)?;
            return Ok(Prepared { name, old: None, row, file, changed: true });
        };
        let current = self.files.load(bucket, &old.metadata_location).await?;
        match commit::on_existing(&current.metadata, &old.metadata_location, &part.change)? {
            None => Ok(Prepared { name, row: old.clone(), old: Some(old), file: current, changed: false }),
            Some(made) => {
                let (row, file) = next(made, old.id, old.metadata_version + 1)?;
                Ok(Prepared { name, old: Some(old), row, file, changed: true })
            }
        }
    }

    async fn publish(&self, scope: &Scope, prepared: &[Prepared], key: Option<&Key>) -> Result<()> {
        let mut tx = self.database.begin(scope).await?;
        if let Some(key) = key {
            let answer = prepared.first().filter(|_| prepared.len() == 1).map(|only| only.file.location.as_str());
            if !key.claim(&mut tx, scope, answer).await? {
                return Err(Error::Raced);
            }
        }
        // Always in the same order, so that two commits over the same tables cannot wait for each other.
        let mut ordered: Vec<&Prepared> = prepared.iter().collect();
        ordered.sort_by_key(|part| part.row.id);
        for part in ordered {
            publish_one(&mut tx, scope, part).await?;
        }
        tx.commit().await.map_err(Error::CommitUnknown)
    }
}

/// Numbers the metadata and names its file.
fn next(metadata: iceberg::spec::TableMetadata, id: Uuid, version: i64) -> Result<(TableRow, Arc<MetadataFile>)> {
    let at = location::of_metadata(metadata.location(), version, Uuid::now_v7());
    let row = TableRow {
        id,
        location: metadata.location().to_owned(),
        metadata_location: at.clone(),
        metadata_version: version,
    };
    Ok((row, Arc::new(MetadataFile::new(at, metadata)?)))
}

async fn publish_one(tx: &mut Tx, scope: &Scope, part: &Prepared) -> Result<()> {
    match &part.old {
        Some(old) => {
            if !store::move_pointer(tx, scope, &old.metadata_location, &part.row).await? {
                return Err(Error::Raced);
            }
        }
        None => {
            let namespace = super::namespaces::must_exist(tx, scope, part.name.namespace()).await?;
            match store::insert_table(tx, scope, namespace.id, part.name.name(), &part.row).await {
                // The next attempt finds the table, and `assert-create` then speaks for itself.
                Err(Error::TableExists) => return Err(Error::Raced),
                outcome => outcome?,
            }
        }
    }
    if part.changed {
        events::committed(tx, scope, &part.name, &part.row, &part.file.metadata).await?;
        events::audited(tx, scope, "catalog.table.commit", &part.name.to_string(), Outcome::Allowed(200)).await?;
    }
    Ok(())
}
