//! Input-less reconcilers.

use std::time::Duration;

use kit::database::{Database, DatabaseError};
use kit::tasks::Tasks;

use crate::store;

const FORGET_EVERY: Duration = Duration::from_secs(600);

/// Forgets the outcomes of batches older than `hours`.
pub fn forget_batches(tasks: &Tasks, database: &Database, hours: u32) {
    tasks.every(
        "forget batches",
        FORGET_EVERY,
        database,
        move |database| async move { forget(&database, hours).await },
    );
}

async fn forget(database: &Database, hours: u32) -> Result<(), DatabaseError> {
    let mut tx = database.begin_system().await?;
    let count = store::forget_batches(&mut tx, hours).await?;
    tx.commit().await?;
    tracing::debug!(count, "outcomes of old batches forgotten");
    Ok(())
}
