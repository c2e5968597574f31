//! What happens without being asked.

use std::time::Duration;

use kit::database::Database;
use kit::tasks::{Policy, Tasks};

use crate::error::Result;
use crate::store;

const EVERY: Duration = Duration::from_secs(15 * 60);

/// Forgets Idempotency-Keys that are past their time.
pub fn forget_answers(tasks: &Tasks, database: Database, hours: u32) {
    let stopping = tasks.stopping();
    let hours = i32::try_from(hours).unwrap_or(i32::MAX);
    tasks.spawn("idempotency keys", Policy::EndProcess, async move {
        loop {
            if let Err(error) = sweep(&database, hours).await {
                tracing::warn!(error = %kit::fault::chain(&error), "old idempotency keys could not be forgotten");
            }
            tokio::select! {
                () = stopping.cancelled() => return Ok(()),
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    });
}

async fn sweep(database: &Database, hours: i32) -> Result<()> {
    let mut tx = database.begin_system().await?;
    store::forget_answers(&mut tx, hours).await?;
    Ok(tx.commit().await?)
}
