//! Idempotent consumption: an event is handled once per consumer, whatever the bus repeats.
//!
//! What was handled is remembered for longer than any bus keeps an event, and then forgotten.

use std::time::Duration;

use time::OffsetDateTime;
use uuid::Uuid;

use crate::database::{Database, DatabaseError, Tx};
use crate::tasks::Tasks;

/// Days an event is remembered. A bus repeats what it still keeps: the longest declared retention, and for
/// Kafka the seven days until a segment is closed, because only closed segments are deleted.
const KEPT_DAYS: i64 = 60;
const EVERY: Duration = Duration::from_secs(3600);
/// Rows per transaction.
const AT_ONCE: i64 = 5_000;

/// Notes `event_id` as handled by `consumer` in this transaction. `false`: it was already.
pub async fn first_time(tx: &mut Tx, consumer: &str, event_id: Uuid) -> Result<bool, DatabaseError> {
    let done = sqlx::query("insert into inbox (consumer, event_id) values ($1, $2) on conflict do nothing")
        .bind(consumer)
        .bind(event_id)
        .execute(&mut **tx)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Spawns the job that forgets what no bus can repeat any more. Every service that calls [`first_time`]
/// starts it.
pub fn sweep(tasks: &Tasks, database: &Database) {
    tasks.every("inbox retention", EVERY, database, |database| async move {
        forget(&database, OffsetDateTime::now_utc() - time::Duration::days(KEPT_DAYS)).await
    });
}

/// Forgets the events handled before `moment`.
pub async fn forget(database: &Database, moment: OffsetDateTime) -> Result<(), DatabaseError> {
    loop {
        let mut tx = database.begin_system().await?;
        let gone = sqlx::query(
            "delete from inbox where (consumer, event_id) in
             (select consumer, event_id from inbox where handled_at < $1 order by handled_at limit $2)",
        )
        .bind(moment)
        .bind(AT_ONCE)
        .execute(&mut *tx)
        .await?
        .rows_affected();
        tx.commit().await?;
        if gone == 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: i64 = 24 * 3600 * 1000;

    #[test]
    fn an_event_is_remembered_longer_than_any_bus_keeps_it() {
        let segment = 7 * DAY_MS;
        for topic in contracts::kafka::topics() {
            assert!(topic.retention_ms + segment < KEPT_DAYS * DAY_MS, "{}", topic.name);
        }
        for stream in contracts::nats::streams() {
            assert!(i64::try_from(stream.max_age_seconds).unwrap() * 1000 < KEPT_DAYS * DAY_MS, "{}", stream.name);
        }
    }
}
