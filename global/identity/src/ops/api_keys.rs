//! API keys: made, shown once, listed by their hint, revoked.

use contracts::TenantId;
use sqlx::PgConnection;
use time::Duration;
use uuid::Uuid;

use super::accounts;
use crate::domain::access::{self, Caller};
use crate::domain::opaque::Purpose;
use crate::error::Error;
use crate::store::api_keys::{self, ApiKey};
use crate::store::sessions::{self, Ending};
use crate::{Identity, ops, random};

const MAX_DAYS: i64 = 3660;

#[derive(Debug)]
pub struct NewKey {
    pub subject: Uuid,
    pub name: String,
    pub tenant: Option<TenantId>,
    pub scopes: Option<Vec<String>>,
    /// None: the key does not expire.
    pub days: Option<i64>,
}

impl NewKey {
    /// As wide as its subject, without an end: a service account's own secret.
    pub fn unlimited(subject: Uuid, name: &str) -> Self {
        Self { subject, name: name.to_owned(), tenant: None, scopes: None, days: None }
    }
}

/// Stores a key and answers it with its secret.
pub async fn add(db: &mut PgConnection, identity: &Identity, new: NewKey) -> Result<(ApiKey, String), Error> {
    let (secret, now) = (random::opaque(Purpose::ApiKey)?, ops::now());
    let key = ApiKey {
        id: secret.id,
        subject: new.subject,
        name: accounts::check_name(&new.name)?,
        prefix: secret.hint(),
        hash: secret.hash(&identity.0.pepper).to_vec(),
        digest: Some(secret.digest()),
        tenant: new.tenant.map(String::from),
        scopes: new.scopes.map(access::check_scopes).transpose().map_err(|_| Error::Scope)?,
        created_at: now,
        expires_at: new.days.map(|days| now + Duration::days(days)),
        last_used_at: None,
        revoked_at: None,
    };
    api_keys::insert(db, &key).await?;
    Ok((key, secret.reveal()))
}

/// For oneself, or for an account that the caller administers.
pub async fn create(identity: &Identity, caller: &Caller, mut new: NewKey) -> Result<(ApiKey, String), Error> {
    let days = new.days.unwrap_or(identity.0.settings.api_key_days);
    if !(1..=MAX_DAYS).contains(&days) {
        return Err(Error::Invalid("expiresInDays is between 1 and 3660"));
    }
    new.days = Some(days);
    let mut db = kit::database::begin(&identity.0.pool).await?;
    allowed(&mut db, caller, new.subject).await?;
    let made = add(&mut db, identity, new).await?;
    db.commit().await?;
    Ok(made)
}

async fn allowed(db: &mut PgConnection, caller: &Caller, subject: Uuid) -> Result<(), Error> {
    if subject == caller.subject {
        return Ok(());
    }
    accounts::administered(db, caller, subject).await.map(|_| ())
}

pub async fn list(
    identity: &Identity,
    caller: &Caller,
    subject: Uuid,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<ApiKey>, Error> {
    let mut db = identity.0.pool.acquire().await?;
    allowed(&mut db, caller, subject).await?;
    api_keys::list(&mut db, subject, after, limit).await
}

/// The key stops at once, and so do the tokens that were minted from it.
pub async fn revoke(identity: &Identity, caller: &Caller, id: Uuid) -> Result<(), Error> {
    let now = ops::now();
    let mut db = kit::database::begin(&identity.0.pool).await?;
    let key = api_keys::find(&mut db, id).await?.ok_or(Error::NotFound("API key"))?;
    allowed(&mut db, caller, key.subject).await.map_err(|_| Error::NotFound("API key"))?;
    api_keys::revoke(&mut db, id, now).await?;
    sessions::revoke(&mut db, Ending::OfApiKey(id), now, ops::revoked_until(now)).await?;
    Ok(db.commit().await?)
}
