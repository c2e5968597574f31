//! Input-less reconcilers.

use std::time::Duration;

use kit::database::{Database, DatabaseError};
use kit::tasks::{Policy, Tasks};

use crate::store;

const FORGET_EVERY: Duration = Duration::from_secs(600);

/// Forgets the outcomes of batches older than `hours`.
pub fn forget_batches(tasks: &Tasks, database: Database, hours: u32) {
    let stopping = tasks.stopping();
    tasks.spawn("forget batches", Policy::EndProcess, async move {
        loop {
            match forget(&database, hours).await {
                Ok(0) => {}
                Ok(count) => tracing::debug!(count, "outcomes of old batches forgotten"),
                Err(error) => tracing::warn!(error = %kit::fault::chain(&error), "old batches are not forgotten"),
            }
            tokio::select! {
                () = stopping.cancelled() => return Ok(()),
                () = tokio::time::sleep(FORGET_EVERY) => {}
            }
        }
    });
}

async fn forget(database: &Database, hours: u32) -> Result<u64, DatabaseError> {
    let mut tx = database.begin_system().await?;
    let count = store::forget_batches(&mut tx, hours).await?;
    tx.commit().await?;
    Ok(count)
}
