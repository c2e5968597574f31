//! One function per use case: authorise, load, decide, save, announce.

pub mod commit;
pub mod datasets;
pub mod encode;
pub mod lease;
pub mod read;
pub mod table;
pub mod transactions;
pub mod upload;
pub mod upload_key;

use std::future::Future;

use contracts::CellId;
use kit::database::Database;
use kit::tasks::{Policy, Tasks};
use kit::turns::Turns;
use lakehouse::{Bucket, Catalog, Namespace, TableName};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::config::Settings;
use crate::error::Error;

/// Namespace of all datasets' tables in a tenant's catalog.
pub const NAMESPACE: &str = "datasets";

/// What every use case needs.
pub struct App {
    pub settings: Settings,
    pub cell: CellId,
    pub database: Database,
    pub bucket: Bucket,
    pub catalog: Catalog,
    pub tasks: Tasks,
    /// Files being converted.
    pub conversions: Turns,
}

impl App {
    /// Runs `work` to its end even if the caller hangs up, so that nothing is left half done in the
    /// bucket. Work that reads the caller's body ends by the body's own error.
    pub async fn detached<T, F>(&self, name: &'static str, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let (answer, result) = oneshot::channel();
        self.tasks.spawn(name, Policy::Once, async move {
            if answer.send(work.await).is_err() {
                tracing::debug!(name, "nobody waited for the result");
            }
            Ok(())
        });
        result.await.map_err(|_| Error::Stopping)?
    }
}

/// The table of a dataset.
pub fn table_name(dataset: &str) -> Result<TableName, Error> {
    let namespace = Namespace::new(vec![NAMESPACE.to_owned()]).map_err(Error::stored)?;
    TableName::new(namespace, dataset).map_err(Error::stored)
}

/// Where a transaction's files lie, below the tenant's part of the bucket.
pub fn folder(dataset: Uuid, transaction: Uuid) -> String {
    format!("datasets/{dataset}/{transaction}")
}
