//! Failed sign-ins, counted per keyed hash.

use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::domain::throttle::Failures;
use crate::error::Error;

pub async fn find(db: &mut PgConnection, key: &[u8]) -> Result<Option<Failures>, Error> {
    let row: Option<(i32, OffsetDateTime)> =
        sqlx::query_as("select failures, window_started from sign_in_failures where key = $1")
            .bind(key)
            .fetch_optional(db)
            .await?;
    Ok(row.map(|(count, window_started)| Failures { count, window_started }))
}

/// Counts one more; a window that began before `window_floor` starts again.
pub async fn count(
    db: &mut PgConnection,
    key: &[u8],
    now: OffsetDateTime,
    window_floor: OffsetDateTime,
) -> Result<(), Error> {
    sqlx::query(
        "insert into sign_in_failures as f (key, failures, window_started) values ($1, 1, $2)
         on conflict (key) do update set
           failures = case when f.window_started < $3 then 1 else f.failures + 1 end,
           window_started = case when f.window_started < $3 then $2 else f.window_started end",
    )
    .bind(key)
    .bind(now)
    .bind(window_floor)
    .execute(db)
    .await?;
    Ok(())
}

pub async fn clear(db: &mut PgConnection, key: &[u8]) -> Result<(), Error> {
    sqlx::query("delete from sign_in_failures where key = $1").bind(key).execute(db).await?;
    Ok(())
}

pub async fn purge(db: &mut PgConnection, window_floor: OffsetDateTime) -> Result<u64, Error> {
    let done =
        sqlx::query("delete from sign_in_failures where window_started < $1").bind(window_floor).execute(db).await?;
    Ok(done.rows_affected())
}
