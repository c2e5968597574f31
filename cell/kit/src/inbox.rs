//! Idempotent consumption: an event is handled once per consumer, whatever the bus repeats.

use uuid::Uuid;

use crate::database::{DatabaseError, Tx};

/// Notes `event_id` as handled by `consumer` in this transaction. `false`: it was already.
pub async fn first_time(tx: &mut Tx, consumer: &str, event_id: Uuid) -> Result<bool, DatabaseError> {
    let done = sqlx::query("insert into inbox (consumer, event_id) values ($1, $2) on conflict do nothing")
        .bind(consumer)
        .bind(event_id)
        .execute(&mut **tx)
        .await?;
    Ok(done.rows_affected() == 1)
}
