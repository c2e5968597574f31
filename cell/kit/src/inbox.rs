//! Idempotent consumption: an event is handled once per consumer, whatever the bus repeats.
//!
//! What was handled is remembered for longer than any bus keeps an event, and then forgotten.

use std::time::Duration;

use uuid::Uuid;

use crate::database::{DatabaseError, Tx};
use crate::retention::Retention;

/// Days an event is remembered. A bus repeats what it still keeps: the longest declared retention, and for
/// Kafka the seven days until a segment is closed, because only closed segments are deleted.
const KEPT_DAYS: u32 = 60;

/// The host starts it for every service that has a database.
pub const RETENTION: Retention =
    Retention { table: "inbox", aged_by: "handled_at", kept: Duration::from_secs(24 * 3600 * KEPT_DAYS as u64) };

/// Notes `event_id` as handled by `consumer` in this transaction. `false`: it was already.
pub async fn first_time(tx: &mut Tx, consumer: &str, event_id: Uuid) -> Result<bool, DatabaseError> {
    let done = sqlx::query("insert into inbox (consumer, event_id) values ($1, $2) on conflict do nothing")
        .bind(consumer)
        .bind(event_id)
        .execute(&mut **tx)
        .await?;
    Ok(done.rows_affected() == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: i64 = 24 * 3600 * 1000;

    #[test]
    fn an_event_is_remembered_longer_than_any_bus_keeps_it() {
        let segment = 7 * DAY_MS;
        for topic in contracts::kafka::topics() {
            assert!(topic.retention_ms + segment < i64::from(KEPT_DAYS) * DAY_MS, "{}", topic.name);
        }
        for stream in contracts::nats::streams() {
            assert!(
                i64::try_from(stream.max_age_seconds).unwrap() * 1000 < i64::from(KEPT_DAYS) * DAY_MS,
                "{}",
                stream.name
            );
        }
    }
}
