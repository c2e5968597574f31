//! Signing keys.

use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::domain::key::{KeyAge, KeyState};
use crate::error::Error;

/// Wakes other processes after a rotation.
pub const CHANNEL: &str = "identity_keys";

#[derive(Debug, Clone, sqlx::FromRow)]
pub struct StoredKey {
    pub kid: String,
    pub state: String,
    pub public: Vec<u8>,
    pub sealed: String,
    /// When it was published, not when it began to sign.
    pub created_at: OffsetDateTime,
    pub retired_at: Option<OffsetDateTime>,
    /// Unknown for a key that began before this was kept.
    pub signs_since: Option<OffsetDateTime>,
}

/// Held to the end of the transaction: only one process changes the ring.
pub async fn lock(db: &mut PgConnection) -> Result<(), Error> {
    sqlx::query("select pg_advisory_xact_lock(hashtext('identity/signing-keys'))").execute(db).await?;
    Ok(())
}

pub async fn all(db: &mut PgConnection) -> Result<Vec<StoredKey>, Error> {
    Ok(sqlx::query_as("select * from signing_keys order by created_at, kid").fetch_all(db).await?)
}

/// Where it is not kept since when the current key signs: since the latest retirement, or since it was made.
pub fn ages(keys: &[StoredKey]) -> Result<Vec<KeyAge>, Error> {
    let latest_retirement = keys.iter().filter_map(|k| k.retired_at).max();
    keys.iter()
        .map(|key| {
            let state = KeyState::parse(&key.state).ok_or(Error::Broken("a stored key state is not known"))?;
            let since = match state {
                KeyState::Next => key.created_at,
                KeyState::Current => key.signs_since.or(latest_retirement).unwrap_or(key.created_at),
                KeyState::Retired => key.retired_at.unwrap_or(key.created_at),
            };
            Ok(KeyAge { kid: key.kid.clone(), state, created_at: key.created_at, since })
        })
        .collect()
}

pub async fn insert(db: &mut PgConnection, key: &StoredKey) -> Result<(), Error> {
    sqlx::query("insert into signing_keys (kid, state, public, sealed, created_at, signs_since) values ($1, $2, $3, $4, $5, $6)")
        .bind(&key.kid)
        .bind(&key.state)
        .bind(&key.public)
        .bind(&key.sealed)
        .bind(key.created_at)
        .bind(key.signs_since)
        .execute(db)
        .await?;
    Ok(())
}

pub async fn rotate(db: &mut PgConnection, now: OffsetDateTime) -> Result<(), Error> {
    sqlx::query("update signing_keys set state = 'retired', retired_at = $1 where state = 'current'")
        .bind(now)
        .execute(&mut *db)
        .await?;
    sqlx::query("update signing_keys set state = 'current', signs_since = $1 where state = 'next'")
        .bind(now)
        .execute(db)
        .await?;
    Ok(())
}

pub async fn forget(db: &mut PgConnection, kid: &str) -> Result<(), Error> {
    sqlx::query("delete from signing_keys where kid = $1 and state = 'retired'").bind(kid).execute(db).await?;
    Ok(())
}

pub async fn notify(db: &mut PgConnection) -> Result<(), Error> {
    sqlx::query("select pg_notify($1, '')").bind(CHANNEL).execute(db).await?;
    Ok(())
}
