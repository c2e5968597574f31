//! API keys.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::key_cards;
use crate::error::Error;

#[derive(Debug, Clone, sqlx::FromRow)]
pub struct ApiKey {
    pub id: Uuid,
    pub subject: Uuid,
    pub name: String,
    pub prefix: String,
    pub hash: Vec<u8>,
    /// What a card says of it; see `contracts::key_cards::digest`.
    pub digest: Option<String>,
    pub tenant: Option<String>,
    pub scopes: Option<Vec<String>>,
    pub created_at: OffsetDateTime,
    pub expires_at: Option<OffsetDateTime>,
    pub last_used_at: Option<OffsetDateTime>,
    pub revoked_at: Option<OffsetDateTime>,
}

impl ApiKey {
    pub fn live(&self, now: OffsetDateTime) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }
}

pub async fn insert(db: &mut PgConnection, key: &ApiKey) -> Result<(), Error> {
    sqlx::query(
        "insert into api_keys (id, subject, name, prefix, hash, digest, tenant, scopes, created_at, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(key.id)
    .bind(key.subject)
    .bind(&key.name)
    .bind(&key.prefix)
    .bind(&key.hash)
    .bind(&key.digest)
    .bind(&key.tenant)
    .bind(&key.scopes)
    .bind(key.created_at)
    .bind(key.expires_at)
    .execute(&mut *db)
    .await?;
    if key.tenant.is_some() {
        key_cards::begin(db, key.id, key.subject, key.created_at).await?;
    }
    Ok(())
}

pub async fn find(db: &mut PgConnection, id: Uuid) -> Result<Option<ApiKey>, Error> {
    Ok(sqlx::query_as("select * from api_keys where id = $1").bind(id).fetch_optional(db).await?)
}

/// As [`find`], and held as it is to the end of the transaction; see `subjects::hold`.
pub async fn hold(db: &mut PgConnection, id: Uuid) -> Result<Option<ApiKey>, Error> {
    Ok(sqlx::query_as("select * from api_keys where id = $1 for share").bind(id).fetch_optional(db).await?)
}

/// Live keys of one subject.
pub async fn list(db: &mut PgConnection, subject: Uuid, after: Option<Uuid>, limit: i64) -> Result<Vec<ApiKey>, Error> {
    let rows = sqlx::query_as(
        "select * from api_keys where subject = $1 and revoked_at is null and ($2::uuid is null or id > $2)
         order by id limit $3",
    );
    Ok(rows.bind(subject).bind(after).bind(limit).fetch_all(db).await?)
}

/// Written at most once a minute: a key in a loop must not cost a write each time. Never while the
/// key is held: two holders that both want to write would wait for each other.
pub async fn touch(db: &mut PgConnection, id: Uuid, now: OffsetDateTime) -> Result<(), Error> {
    sqlx::query(
        "update api_keys set last_used_at = $2
         where id = $1 and (last_used_at is null or last_used_at < $2 - interval '1 minute')",
    )
    .bind(id)
    .bind(now)
    .execute(db)
    .await?;
    Ok(())
}

/// Keeps what a card says of the key, and has its card made.
pub async fn set_digest(db: &mut PgConnection, key: &ApiKey, digest: &str, now: OffsetDateTime) -> Result<(), Error> {
    sqlx::query("update api_keys set digest = $2 where id = $1 and digest is null")
        .bind(key.id)
        .bind(digest)
        .execute(&mut *db)
        .await?;
    match key.tenant {
        Some(_) => key_cards::begin(db, key.id, key.subject, now).await,
        None => Ok(()),
    }
}

pub async fn revoke(db: &mut PgConnection, id: Uuid, now: OffsetDateTime) -> Result<(), Error> {
    sqlx::query("update api_keys set revoked_at = coalesce(revoked_at, $2) where id = $1")
        .bind(id)
        .bind(now)
        .execute(db)
        .await?;
    Ok(())
}
