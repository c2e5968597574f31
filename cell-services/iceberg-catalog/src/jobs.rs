//! What happens without being asked.

use std::time::Duration;

use kit::database::Database;
use kit::tasks::Tasks;

use crate::error::Result;
use crate::store;

const EVERY: Duration = Duration::from_secs(15 * 60);

/// Forgets Idempotency-Keys that are past their time.
pub fn forget_answers(tasks: &Tasks, database: &Database, hours: u32) {
    let hours = i32::try_from(hours).unwrap_or(i32::MAX);
    tasks.every("idempotency keys", EVERY, database, move |database| async move { sweep(&database, hours).await });
}

async fn sweep(database: &Database, hours: i32) -> Result<()> {
    let mut tx = database.begin_system().await?;
    store::forget_answers(&mut tx, hours).await?;
    Ok(tx.commit().await?)
}
