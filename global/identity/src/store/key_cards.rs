//! Cards of API keys, and when they are due.

use contracts::key_cards::CardLine;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::error::Error;

/// Wakes the feed's readers.
pub const CHANNEL: &str = "identity_key_cards";

/// A key whose card is due.
#[derive(Debug, sqlx::FromRow)]
pub struct Due {
    pub key: Uuid,
    pub tenant: String,
    pub digest: String,
    /// What it says while nothing has changed since.
    pub due_at: OffsetDateTime,
}

pub async fn due(db: &mut PgConnection, now: OffsetDateTime, limit: i64) -> Result<Vec<Due>, Error> {
    let rows = sqlx::query_as(
        "select c.key, k.tenant, k.digest, c.due_at from key_cards c join api_keys k on k.id = c.key
         where c.due_at <= $1 and k.tenant is not null and k.digest is not null
         order by c.due_at limit $2",
    );
    Ok(rows.bind(now).bind(limit).fetch_all(db).await?)
}

/// A key that is bound to a tenant needs a card.
pub async fn begin(db: &mut PgConnection, key: Uuid, subject: Uuid, now: OffsetDateTime) -> Result<(), Error> {
    sqlx::query(
        "insert into key_cards (key, subject, due_at) values ($1, $2, $3)
         on conflict (key) do update set due_at = excluded.due_at",
    )
    .bind(key)
    .bind(subject)
    .bind(now)
    .execute(db)
    .await?;
    Ok(())
}

/// Something changed that a subject's cards say. After the subject or its membership is locked, never before.
pub async fn all_due(db: &mut PgConnection, subject: Uuid, now: OffsetDateTime) -> Result<(), Error> {
    sqlx::query("update key_cards set due_at = $2 where subject = $1").bind(subject).bind(now).execute(db).await?;
    Ok(())
}

/// No card can be made now.
pub async fn wait(db: &mut PgConnection, due: &Due) -> Result<(), Error> {
    sqlx::query("update key_cards set due_at = null where key = $1 and due_at = $2")
        .bind(due.key)
        .bind(due.due_at)
        .execute(db)
        .await?;
    Ok(())
}

/// A card that was made.
#[derive(Debug)]
pub struct Made {
    pub card: String,
    pub expires_at: OffsetDateTime,
    pub next: OffsetDateTime,
}

/// Puts a new card in the place of the one before; `false` if something changed since it was found to be due. The head
/// row's lock keeps numbers in commit order.
pub async fn put(db: &mut PgConnection, due: &Due, made: &Made) -> Result<bool, Error> {
    let taken = sqlx::query("update key_cards set due_at = $3 where key = $1 and due_at = $2")
        .bind(due.key)
        .bind(due.due_at)
        .bind(made.next)
        .execute(&mut *db)
        .await?;
    if taken.rows_affected() == 0 {
        return Ok(false);
    }
    let (seq,): (i64,) =
        sqlx::query_as("update key_card_head set seq = seq + 1 returning seq").fetch_one(&mut *db).await?;
    sqlx::query("update key_cards set seq = $2, card = $3, expires_at = $4 where key = $1")
        .bind(due.key)
        .bind(seq)
        .bind(&made.card)
        .bind(made.expires_at)
        .execute(&mut *db)
        .await?;
    sqlx::query("select pg_notify($1, $2)").bind(CHANNEL).bind(seq.to_string()).execute(db).await?;
    Ok(true)
}

pub async fn head(db: &mut PgConnection) -> Result<u64, Error> {
    let (seq,): (i64,) = sqlx::query_as("select seq from key_card_head").fetch_one(db).await?;
    Ok(seq.unsigned_abs())
}

/// Cards that are alive, after a position.
pub async fn after(db: &mut PgConnection, since: u64, limit: i64) -> Result<Vec<CardLine>, Error> {
    let since = i64::try_from(since).unwrap_or(i64::MAX);
    let rows: Vec<(i64, Uuid, String, OffsetDateTime)> = sqlx::query_as(
        "select seq, key, card, expires_at from key_cards where seq > $1 and expires_at > now() order by seq limit $2",
    )
    .bind(since)
    .bind(limit)
    .fetch_all(db)
    .await?;
    let line = |(seq, key, card, expires_at): (i64, Uuid, String, OffsetDateTime)| CardLine {
        seq: seq.unsigned_abs(),
        key,
        card,
        until: expires_at.unix_timestamp(),
    };
    Ok(rows.into_iter().map(line).collect())
}
