//! Rows that are forgotten when they are old.

use std::time::Duration;

use sqlx::AssertSqlSafe;
use time::OffsetDateTime;

use crate::database::{Database, DatabaseError};
use crate::tasks::Tasks;

const EVERY: Duration = Duration::from_secs(15 * 60);
/// Rows per transaction: few enough that nobody waits for them.
const AT_ONCE: i64 = 5_000;

/// Rows of all tenants leave `table` once `aged_by` is longer ago than `kept`.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// Not partitioned: rows are picked by their place in the table.
    pub table: &'static str,
    /// A timestamp with an index of its own.
    pub aged_by: &'static str,
    pub kept: Duration,
}

impl Retention {
    /// Spawns the job that forgets.
    pub fn start(self, tasks: &Tasks, database: &Database) {
        tasks.every(self.table, EVERY, database, move |database| async move { self.forget(&database).await });
    }

    pub async fn forget(&self, database: &Database) -> Result<(), DatabaseError> {
        // Nothing is older than time itself.
        let Some(moment) =
            time::Duration::try_from(self.kept).ok().and_then(|kept| OffsetDateTime::now_utc().checked_sub(kept))
        else {
            return Ok(());
        };
        let Self { table, aged_by, .. } = self;
        let statement = format!(
            "delete from {table} where ctid = any(array(
                select ctid from {table} where {aged_by} < $1 order by {aged_by} limit $2))"
        );
        loop {
            let mut tx = database.begin_system().await?;
            let delete = sqlx::query(AssertSqlSafe(statement.clone())).bind(moment).bind(AT_ONCE);
            let gone = delete.execute(&mut *tx).await?.rows_affected();
            tx.commit().await?;
            if gone == 0 {
                return Ok(());
            }
        }
    }
}
