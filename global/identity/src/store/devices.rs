//! Device grants.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::device::GrantState;
use crate::error::Error;

#[derive(Debug, Clone, sqlx::FromRow)]
pub struct DeviceGrant {
    pub id: Uuid,
    pub device_hash: Vec<u8>,
    pub client: String,
    pub tenant: Option<String>,
    pub scopes: Option<String>,
    pub state: String,
    pub subject: Option<Uuid>,
    pub interval_s: i32,
    pub polled_at: Option<OffsetDateTime>,
    pub expires_at: OffsetDateTime,
}

impl DeviceGrant {
    pub fn state(&self) -> GrantState {
        match (self.state.as_str(), self.subject) {
            ("pending", _) => GrantState::Pending,
            ("approved", Some(subject)) => GrantState::Approved(subject),
            ("denied", _) => GrantState::Denied,
            _ => GrantState::Used,
        }
    }
}

pub async fn insert(db: &mut PgConnection, grant: &DeviceGrant, user_hash: &[u8]) -> Result<(), Error> {
    sqlx::query(
        "insert into device_grants (id, device_hash, user_hash, client, tenant, scopes, interval_s, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(grant.id)
    .bind(&grant.device_hash)
    .bind(user_hash)
    .bind(&grant.client)
    .bind(&grant.tenant)
    .bind(&grant.scopes)
    .bind(grant.interval_s)
    .bind(grant.expires_at)
    .execute(db)
    .await?;
    Ok(())
}

const COLUMNS_BY_ID: &str =
    "select id, device_hash, client, tenant, scopes, state, subject, interval_s, polled_at, expires_at
     from device_grants where id = $1 for update";

pub async fn lock(db: &mut PgConnection, id: Uuid) -> Result<Option<DeviceGrant>, Error> {
    Ok(sqlx::query_as(COLUMNS_BY_ID).bind(id).fetch_optional(db).await?)
}

/// Decides a pending grant by its user code. Answers whether there was one.
pub async fn decide(
    db: &mut PgConnection,
    user_hash: &[u8],
    approved_by: Option<Uuid>,
    now: OffsetDateTime,
) -> Result<bool, Error> {
    let done = sqlx::query(
        "update device_grants set state = case when $2::uuid is null then 'denied' else 'approved' end, subject = $2
         where user_hash = $1 and state = 'pending' and expires_at > $3",
    )
    .bind(user_hash)
    .bind(approved_by)
    .bind(now)
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub async fn record_poll(db: &mut PgConnection, id: Uuid, now: OffsetDateTime, slower_by: i32) -> Result<(), Error> {
    sqlx::query("update device_grants set polled_at = $2, interval_s = interval_s + $3 where id = $1")
        .bind(id)
        .bind(now)
        .bind(slower_by)
        .execute(db)
        .await?;
    Ok(())
}

pub async fn mark_used(db: &mut PgConnection, id: Uuid) -> Result<(), Error> {
    sqlx::query("update device_grants set state = 'used' where id = $1").bind(id).execute(db).await?;
    Ok(())
}

/// Grants that wait for a person; bounds what strangers can make us store.
pub async fn pending(db: &mut PgConnection) -> Result<i64, Error> {
    let (count,): (i64,) =
        sqlx::query_as("select count(*) from device_grants where expires_at > now()").fetch_one(db).await?;
    Ok(count)
}

pub async fn purge(db: &mut PgConnection, limit: i64) -> Result<u64, Error> {
    let done = sqlx::query(
        "delete from device_grants where id in
         (select id from device_grants where expires_at < now() - interval '1 hour' order by expires_at limit $1)",
    )
    .bind(limit)
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}
