//! Work that nobody asked for: forgetting old history.

use std::time::Duration;

use kit::database::Database;
use kit::fault::chain;
use kit::tasks::{Policy, Tasks};
use time::OffsetDateTime;

use crate::error::Error;
use crate::store;

const EVERY: Duration = Duration::from_secs(3600);
/// Rows per transaction.
const AT_ONCE: i64 = 5_000;

pub fn start(tasks: &Tasks, database: Database, days: u32) {
    let stopping = tasks.stopping();
    tasks.spawn("statement history retention", Policy::EndProcess, async move {
        loop {
            if let Err(error) = forget(&database, days).await {
                tracing::warn!(error = %chain(&error), "old statements are kept for now");
            }
            tokio::select! {
                () = stopping.cancelled() => return Ok(()),
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    });
}

async fn forget(database: &Database, days: u32) -> Result<(), Error> {
    let moment = OffsetDateTime::now_utc() - time::Duration::days(i64::from(days));
    loop {
        let mut tx = database.begin_system().await?;
        let gone = store::forget(&mut tx, moment, AT_ONCE).await?;
        tx.commit().await?;
        if gone == 0 {
            return Ok(());
        }
    }
}
