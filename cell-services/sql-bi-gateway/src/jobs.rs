//! Work that nobody asked for: forgetting old history.

use std::time::Duration;

use kit::database::Database;
use kit::tasks::Tasks;
use time::OffsetDateTime;

use crate::error::Error;
use crate::store;

const EVERY: Duration = Duration::from_secs(3600);
/// Rows per transaction.
const AT_ONCE: i64 = 5_000;

pub fn start(tasks: &Tasks, database: &Database, days: u32) {
    let name = "statement history retention";
    tasks.every(name, EVERY, database, move |database| async move { forget(&database, days).await });
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
