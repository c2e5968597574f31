//! Sessions, refresh tokens and the revocation feed.

use contracts::claims::Revocation;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::error::Error;

/// Wakes the feed's readers.
pub const CHANNEL: &str = "identity_revocations";

#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Session {
    pub sid: Uuid,
    pub subject: Uuid,
    pub kind: String,
    pub api_key: Option<Uuid>,
    pub tenant: Option<String>,
    /// Scopes asked for at sign-in, space separated.
    pub scopes: Option<String>,
    pub created_at: OffsetDateTime,
    pub expires_at: OffsetDateTime,
    pub revoked_at: Option<OffsetDateTime>,
}

pub async fn insert(db: &mut PgConnection, session: &Session) -> Result<(), Error> {
    sqlx::query(
        "insert into sessions (sid, subject, kind, api_key, tenant, scopes, created_at, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(session.sid)
    .bind(session.subject)
    .bind(&session.kind)
    .bind(session.api_key)
    .bind(&session.tenant)
    .bind(&session.scopes)
    .bind(session.created_at)
    .bind(session.expires_at)
    .execute(db)
    .await?;
    Ok(())
}

/// Locked, so that two uses of one refresh token cannot both be first.
pub async fn lock(db: &mut PgConnection, sid: Uuid) -> Result<Option<Session>, Error> {
    Ok(sqlx::query_as("select * from sessions where sid = $1 for update").bind(sid).fetch_optional(db).await?)
}

pub async fn find(db: &mut PgConnection, sid: Uuid) -> Result<Option<Session>, Error> {
    Ok(sqlx::query_as("select * from sessions where sid = $1").bind(sid).fetch_optional(db).await?)
}

/// A session of an API key that lasts past `until`: a key's tokens share sessions, so that a busy
/// client does not fill the table.
pub async fn reusable(
    db: &mut PgConnection,
    api_key: Uuid,
    tenant: Option<&str>,
    until: OffsetDateTime,
) -> Result<Option<Session>, Error> {
    let row = sqlx::query_as(
        "select * from sessions where api_key = $1 and tenant is not distinct from $2 and revoked_at is null
         and expires_at > $3 order by expires_at desc limit 1",
    );
    Ok(row.bind(api_key).bind(tenant).bind(until).fetch_optional(db).await?)
}

pub async fn list(
    db: &mut PgConnection,
    subject: Uuid,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Session>, Error> {
    let rows = sqlx::query_as(
        "select * from sessions where subject = $1 and revoked_at is null and expires_at > now()
         and kind <> 'card' and ($2::uuid is null or sid > $2) order by sid limit $3",
    );
    Ok(rows.bind(subject).bind(after).bind(limit).fetch_all(db).await?)
}

/// Which live sessions to end.
#[derive(Debug, Clone, Copy)]
pub enum Ending {
    One(Uuid),
    OfSubject(Uuid),
    OfApiKey(Uuid),
}

/// Ends sessions and publishes it. `until`: when the last token of them will have expired; a card lasts as long as its
/// session does. Cards of keys that are still good are made anew.
/// The head row's lock keeps numbers in commit order, so a reader never misses one.
pub async fn revoke(
    db: &mut PgConnection,
    ending: Ending,
    now: OffsetDateTime,
    until: OffsetDateTime,
) -> Result<u64, Error> {
    let (sid, subject, api_key) = match ending {
        Ending::One(sid) => (Some(sid), None, None),
        Ending::OfSubject(subject) => (None, Some(subject), None),
        Ending::OfApiKey(key) => (None, None, Some(key)),
    };
    let ended: Vec<(Uuid, OffsetDateTime)> = sqlx::query_as(
        "update sessions set revoked_at = $4
         where (sid = $1 or subject = $2 or api_key = $3) and revoked_at is null and expires_at > $4
         returning sid, case when kind = 'card' then expires_at else $5 end",
    )
    .bind(sid)
    .bind(subject)
    .bind(api_key)
    .bind(now)
    .bind(until)
    .fetch_all(&mut *db)
    .await?;
    if let Some(subject) = subject {
        super::key_cards::all_due(db, subject, now).await?;
    }
    if ended.is_empty() {
        return Ok(0);
    }
    let (sids, untils): (Vec<Uuid>, Vec<OffsetDateTime>) = ended.into_iter().unzip();
    let count = i64::try_from(sids.len()).map_err(|_| Error::Broken("too many sessions"))?;
    let (head,): (i64,) = sqlx::query_as("update revocation_head set seq = seq + $1 returning seq")
        .bind(count)
        .fetch_one(&mut *db)
        .await?;
    sqlx::query(
        "insert into revocations (seq, sid, until)
         select $1 + position, sid, until
         from unnest($2::uuid[], $3::timestamptz[]) with ordinality as ended (sid, until, position)",
    )
    .bind(head - count)
    .bind(&sids)
    .bind(&untils)
    .execute(&mut *db)
    .await?;
    sqlx::query("select pg_notify($1, $2)").bind(CHANNEL).bind(head.to_string()).execute(db).await?;
    Ok(sids.len() as u64)
}

pub async fn revocation_head(db: &mut PgConnection) -> Result<u64, Error> {
    let (seq,): (i64,) = sqlx::query_as("select seq from revocation_head").fetch_one(db).await?;
    Ok(seq.unsigned_abs())
}

pub async fn revocations_after(db: &mut PgConnection, since: u64, limit: i64) -> Result<Vec<Revocation>, Error> {
    let since = i64::try_from(since).unwrap_or(i64::MAX);
    let rows: Vec<(i64, Uuid, OffsetDateTime)> = sqlx::query_as(
        "select seq, sid, until from revocations where seq > $1 and until > now() order by seq limit $2",
    )
    .bind(since)
    .bind(limit)
    .fetch_all(db)
    .await?;
    let line = |(seq, sid, until): (i64, Uuid, OffsetDateTime)| Revocation {
        seq: seq.unsigned_abs(),
        sid: sid.to_string(),
        until: until.unix_timestamp(),
    };
    Ok(rows.into_iter().map(line).collect())
}

#[derive(Debug, Clone, sqlx::FromRow)]
pub struct RefreshToken {
    pub sid: Uuid,
    pub hash: Vec<u8>,
    pub used_at: Option<OffsetDateTime>,
}

pub async fn insert_refresh(db: &mut PgConnection, id: Uuid, sid: Uuid, hash: &[u8]) -> Result<(), Error> {
    sqlx::query("insert into refresh_tokens (id, sid, hash) values ($1, $2, $3)")
        .bind(id)
        .bind(sid)
        .bind(hash)
        .execute(db)
        .await?;
    Ok(())
}

/// Read it only after [`lock`]: the session's lock decides which use is first.
pub async fn find_refresh(db: &mut PgConnection, id: Uuid) -> Result<Option<RefreshToken>, Error> {
    let row = sqlx::query_as("select sid, hash, used_at from refresh_tokens where id = $1");
    Ok(row.bind(id).fetch_optional(db).await?)
}

pub async fn mark_refresh_used(db: &mut PgConnection, id: Uuid, now: OffsetDateTime) -> Result<(), Error> {
    sqlx::query("update refresh_tokens set used_at = $2 where id = $1").bind(id).bind(now).execute(db).await?;
    Ok(())
}

/// Removes sessions a day after their end, and revocations nobody needs. Answers how many rows went.
pub async fn purge(db: &mut PgConnection, limit: i64) -> Result<u64, Error> {
    let sessions = sqlx::query(
        "delete from sessions where sid in
         (select sid from sessions where expires_at < now() - interval '1 day' order by expires_at limit $1)",
    )
    .bind(limit)
    .execute(&mut *db)
    .await?;
    let revocations = sqlx::query(
        "delete from revocations where seq in (select seq from revocations where until < now() order by seq limit $1)",
    )
    .bind(limit)
    .execute(db)
    .await?;
    Ok(sessions.rows_affected() + revocations.rows_affected())
}
