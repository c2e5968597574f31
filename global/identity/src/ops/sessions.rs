//! Sessions: who is signed in, and how that ends.

use contracts::Claims;
use http::{HeaderMap, header};
use uuid::Uuid;

use crate::domain::access::{Caller, State};
use crate::domain::opaque::{Opaque, Purpose};
use crate::error::Error;
use crate::ops::accounts;
use crate::store::sessions::{self, Ending, Session};
use crate::store::subjects;
use crate::{Identity, ops};

/// Verifies a bearer token: signature, audience and time in memory, then its session in the
/// database. Managing the platform is rare, so that second look costs nothing that matters.
pub async fn bearer(identity: &Identity, headers: &HeaderMap) -> Result<Option<Claims>, Error> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let is_bearer = value.as_bytes().get(..7).is_some_and(|start| start.eq_ignore_ascii_case(b"bearer "));
    if !is_bearer {
        return Ok(None);
    }
    let claims = identity.0.ring.verifier().verify_header(Some(value), None).map_err(|_| Error::Unauthenticated)?;
    let caller = Caller::from_claims(&claims).ok_or(Error::Unauthenticated)?;
    let mut db = identity.0.pool.acquire().await?;
    let live = sessions::find(&mut db, caller.sid).await?.is_some_and(|s| s.revoked_at.is_none());
    let active = subjects::find(&mut db, caller.subject).await?.is_some_and(|s| s.state() == State::Active);
    if live && active { Ok(Some(claims)) } else { Err(Error::Unauthenticated) }
}

pub async fn list(
    identity: &Identity,
    caller: &Caller,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Session>, Error> {
    sessions::list(&mut *identity.0.pool.acquire().await?, caller.subject, after, limit).await
}

/// Ends a session: one's own, or one of an account that the caller administers.
pub async fn end(identity: &Identity, caller: &Caller, sid: Uuid) -> Result<(), Error> {
    let now = ops::now();
    let mut db = kit::database::begin(&identity.0.pool).await?;
    let session = sessions::find(&mut db, sid).await?.ok_or(Error::NotFound("session"))?;
    if session.subject != caller.subject {
        accounts::administered(&mut db, caller, session.subject).await.map_err(|_| Error::NotFound("session"))?;
    }
    sessions::revoke(&mut db, Ending::One(sid), now, ops::revoked_until(now)).await?;
    Ok(db.commit().await?)
}

/// RFC 7009: whoever holds a token may end its session. Anything else is quietly ignored.
pub async fn revoke_token(identity: &Identity, token: &str) -> Result<(), Error> {
    let mut db = kit::database::begin(&identity.0.pool).await?;
    let sid = match Opaque::parse(Purpose::Refresh, token) {
        Some(refresh) => sessions::find_refresh(&mut db, refresh.id)
            .await?
            .filter(|stored| refresh.matches(&identity.0.pepper, &stored.hash))
            .map(|stored| stored.sid),
        None => identity.0.ring.session_of(token),
    };
    if let Some(sid) = sid {
        let now = ops::now();
        sessions::revoke(&mut db, Ending::One(sid), now, ops::revoked_until(now)).await?;
    }
    Ok(db.commit().await?)
}
