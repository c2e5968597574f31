//! The grants: what is handed in, and the token that comes out.

use contracts::claims::{AUDIENCE_CELL, AUDIENCE_GLOBAL, ISSUER};
use contracts::{Claims, TenantId};
use sqlx::PgConnection;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::domain::access::{self, State};
use crate::domain::opaque::{Opaque, Purpose};
use crate::domain::session::{Refresh, SessionAge, decide_refresh, token_expiry};
use crate::error::Error;
use crate::ops::password;
use crate::store::api_keys::{self, ApiKey};
use crate::store::sessions::{self, Ending, Session};
use crate::store::{members, subjects};
use crate::{Identity, ops, random};

/// Sessions of API keys are renewed after this long.
const KEY_SESSION: Duration = Duration::hours(24);
/// Scopes that OIDC clients send by habit; identity claims need no scope here.
const OIDC_SCOPES: &[&str] = &["openid", "profile", "email", "offline_access"];

/// What a client asks a token for.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// None asks for a token of the global plane.
    pub tenant: Option<TenantId>,
    pub scopes: Option<String>,
}

impl Wanted {
    pub fn new(tenant: Option<TenantId>, scopes: Option<&str>) -> Self {
        let own: Vec<&str> =
            scopes.unwrap_or_default().split_ascii_whitespace().filter(|s| !OIDC_SCOPES.contains(s)).collect();
        Self { tenant, scopes: (!own.is_empty()).then(|| own.join(" ")) }
    }
}

#[derive(Debug)]
pub struct TokenGrant {
    pub access_token: String,
    pub expires_in: i64,
    pub scopes: String,
    pub tenant: Option<TenantId>,
    pub refresh_token: Option<String>,
}

/// The organisation of the tenant asked for. An unknown tenant looks like wrong credentials.
/// Called before a transaction is open: it asks another database.
pub async fn organisation_of(identity: &Identity, tenant: Option<&TenantId>) -> Result<Option<String>, Error> {
    let Some(tenant) = tenant else { return Ok(None) };
    let found = identity.0.directory.organisation_of(tenant).await.map_err(Error::Directory)?;
    found.map(Some).ok_or(Error::BadCredentials)
}

pub struct Authority {
    organisation: Option<String>,
    scopes: String,
    audience: &'static str,
}

/// What `subject` may have. `limit` narrows it to what a key or session was made for.
pub async fn authority(
    db: &mut PgConnection,
    subject: Uuid,
    wanted: &Wanted,
    tenant_organisation: Option<String>,
    limit: Option<&[String]>,
) -> Result<Authority, Error> {
    let subject = subjects::hold(db, subject).await?.ok_or(Error::BadCredentials)?;
    if subject.state() != State::Active {
        return Err(Error::BadCredentials);
    }
    let Some(tenant) = &wanted.tenant else {
        let scopes = subject.role()?.scope();
        // A narrowed credential gets no global token: with one it could make a wider credential.
        if limit.is_some() || wanted.scopes.as_deref().is_some_and(|s| s != scopes) {
            return Err(Error::Scope);
        }
        let scopes = scopes.to_owned();
        return Ok(Authority { organisation: subject.organisation, scopes, audience: AUDIENCE_GLOBAL });
    };
    let held = members::hold(db, tenant.as_str(), subject.id).await?.ok_or(Error::BadCredentials)?;
    let scopes = access::grant(&held, limit, wanted.scopes.as_deref()).map_err(|_| Error::Scope)?;
    Ok(Authority { organisation: tenant_organisation, scopes, audience: AUDIENCE_CELL })
}

fn mint(
    identity: &Identity,
    session: &Session,
    wanted: &Wanted,
    authority: Authority,
    now: OffsetDateTime,
) -> Result<TokenGrant, Error> {
    let iat = now.unix_timestamp();
    let exp = token_expiry(iat, identity.0.settings.token_seconds, session.expires_at.unix_timestamp());
    let claims = claims(session, wanted, authority, (iat, exp));
    let access_token = identity.0.ring.mint(&claims)?;
    let tenant = wanted.tenant.clone();
    Ok(TokenGrant { access_token, expires_in: exp - iat, scopes: claims.scp, tenant, refresh_token: None })
}

/// What a token of the session says; seconds since 1970 from which and until when.
pub fn claims(session: &Session, wanted: &Wanted, authority: Authority, (iat, exp): (i64, i64)) -> Claims {
    Claims {
        iss: ISSUER.to_owned(),
        sub: session.subject.to_string(),
        tid: wanted.tenant.clone(),
        org: authority.organisation,
        scp: authority.scopes,
        grp: Vec::new(),
        mrk: Vec::new(),
        sid: session.sid.to_string(),
        aud: authority.audience.to_owned(),
        iat,
        exp,
        jti: Uuid::now_v7().to_string(),
    }
}

async fn new_refresh(db: &mut PgConnection, identity: &Identity, sid: Uuid) -> Result<String, Error> {
    let token = random::opaque(Purpose::Refresh)?;
    sessions::insert_refresh(db, token.id, sid, &token.hash(&identity.0.pepper)).await?;
    Ok(token.reveal())
}

fn limit_of(session: &Session) -> Option<Vec<String>> {
    session.scopes.as_ref().map(|s| s.split(' ').map(str::to_owned).collect())
}

/// Opens a user's session: access token and refresh token.
pub async fn open_session(
    db: &mut PgConnection,
    identity: &Identity,
    subject: Uuid,
    kind: &str,
    wanted: &Wanted,
    tenant_organisation: Option<String>,
) -> Result<TokenGrant, Error> {
    let now = ops::now();
    let authority = authority(db, subject, wanted, tenant_organisation, None).await?;
    let session = Session {
        sid: Uuid::now_v7(),
        subject,
        kind: kind.to_owned(),
        api_key: None,
        tenant: wanted.tenant.as_ref().map(ToString::to_string),
        scopes: wanted.scopes.clone().filter(|_| wanted.tenant.is_some()),
        created_at: now,
        expires_at: now + Duration::seconds(identity.0.settings.session_seconds),
        revoked_at: None,
    };
    sessions::insert(db, &session).await?;
    let refresh_token = Some(new_refresh(db, identity, session.sid).await?);
    Ok(TokenGrant { refresh_token, ..mint(identity, &session, wanted, authority, now)? })
}

/// Signing in with e-mail and password.
pub async fn by_password(
    identity: &Identity,
    email: &str,
    password: String,
    wanted: &Wanted,
    address: &str,
) -> Result<TokenGrant, Error> {
    let subject = password::user(identity, email, password, address).await?;
    let organisation = organisation_of(identity, wanted.tenant.as_ref()).await?;
    let mut db = kit::database::begin(&identity.0.pool).await?;
    let grant = open_session(&mut db, identity, subject, "password", wanted, organisation).await?;
    db.commit().await?;
    Ok(grant)
}

/// OAuth 2 client credentials: the client is a service account or a user, the secret an API key.
pub async fn by_client(
    identity: &Identity,
    client_id: &str,
    client_secret: &str,
    wanted: Wanted,
    address: &str,
) -> Result<TokenGrant, Error> {
    password::strong(identity, address, by_key(identity, client_id, client_secret, wanted)).await
}

async fn by_key(identity: &Identity, client_id: &str, secret: &str, mut wanted: Wanted) -> Result<TokenGrant, Error> {
    let client: Uuid = client_id.parse().map_err(|_| Error::BadCredentials)?;
    let secret = Opaque::parse(Purpose::ApiKey, secret).ok_or(Error::BadCredentials)?;
    let now = ops::now();
    let key = api_keys::find(&mut *identity.0.pool.acquire().await?, secret.id).await?;
    let key = key
        .filter(|key| secret.matches(&identity.0.pepper, &key.hash) && key.subject == client && key.live(now))
        .ok_or(Error::BadCredentials)?;
    if let Some(bound) = &key.tenant {
        let bound = TenantId::new(bound.clone()).map_err(|_| Error::Broken("a stored tenant is not well formed"))?;
        if wanted.tenant.as_ref().is_some_and(|asked| *asked != bound) {
            return Err(Error::BadCredentials);
        }
        wanted.tenant = Some(bound);
    }
    let organisation = organisation_of(identity, wanted.tenant.as_ref()).await?;
    let mut db = kit::database::begin(&identity.0.pool).await?;
    let key = api_keys::hold(&mut db, key.id).await?.filter(|key| key.live(now)).ok_or(Error::BadCredentials)?;
    let authority = authority(&mut db, client, &wanted, organisation, key.scopes.as_deref()).await?;
    let lives = Lives { now, lasting: now + Duration::seconds(identity.0.settings.token_seconds) };
    let session = key_session(&mut db, &key, wanted.tenant.as_ref(), lives).await?;
    let grant = mint(identity, &session, &wanted, authority, now)?;
    db.commit().await?;
    let mut db = identity.0.pool.acquire().await?;
    api_keys::touch(&mut db, key.id, now).await?;
    if key.digest.is_none() {
        // Made before keys had cards: only now is its secret here.
        api_keys::set_digest(&mut db, &key, &secret.digest(), now).await?;
    }
    Ok(grant)
}

struct Lives {
    now: OffsetDateTime,
    /// A session that ends before this is not worth another token.
    lasting: OffsetDateTime,
}

/// The key's session in a tenant: the one it has, or a new one.
async fn key_session(
    db: &mut PgConnection,
    key: &ApiKey,
    tenant: Option<&TenantId>,
    lives: Lives,
) -> Result<Session, Error> {
    let tenant = tenant.map(TenantId::as_str);
    if let Some(session) = sessions::reusable(db, key.id, tenant, lives.lasting).await? {
        return Ok(session);
    }
    let session = Session {
        sid: Uuid::now_v7(),
        subject: key.subject,
        kind: "key".to_owned(),
        api_key: Some(key.id),
        tenant: tenant.map(str::to_owned),
        scopes: None,
        created_at: lives.now,
        expires_at: lives.now + KEY_SESSION,
        revoked_at: None,
    };
    sessions::insert(db, &session).await?;
    Ok(session)
}

/// A refresh token for its successor and a new access token, perhaps for another tenant.
pub async fn by_refresh(identity: &Identity, token: &str, mut wanted: Wanted) -> Result<TokenGrant, Error> {
    let token = Opaque::parse(Purpose::Refresh, token).ok_or(Error::BadCredentials)?;
    let Some((session, used)) = refresh_state(identity, &token).await? else { return Err(Error::BadCredentials) };
    if wanted.tenant.is_none() {
        wanted.tenant = session.tenant.clone().map(TenantId::new).transpose().map_err(|_| Error::BadCredentials)?;
    }
    let organisation = match used {
        true => None,
        false => organisation_of(identity, wanted.tenant.as_ref()).await?,
    };
    let now = ops::now();
    let mut db = kit::database::begin(&identity.0.pool).await?;
    let session = sessions::lock(&mut db, session.sid).await?.ok_or(Error::BadCredentials)?;
    let stored = sessions::find_refresh(&mut db, token.id).await?.ok_or(Error::BadCredentials)?;
    let age = SessionAge { expires_at: session.expires_at, revoked: session.revoked_at.is_some() };
    match decide_refresh(stored.used_at.is_some(), age, now) {
        Refresh::Ended => Err(Error::BadCredentials),
        Refresh::Stolen => {
            tracing::warn!(sid = %session.sid, subject = %session.subject, "a refresh token was used twice; its session ends");
            sessions::revoke(&mut db, Ending::One(session.sid), now, ops::revoked_until(now)).await?;
            db.commit().await?;
            Err(Error::BadCredentials)
        }
        Refresh::Rotate => {
            let limit = limit_of(&session);
            let authority = authority(&mut db, session.subject, &wanted, organisation, limit.as_deref()).await?;
            sessions::mark_refresh_used(&mut db, token.id, now).await?;
            let refresh_token = Some(new_refresh(&mut db, identity, session.sid).await?);
            let grant = mint(identity, &session, &wanted, authority, now)?;
            db.commit().await?;
            Ok(TokenGrant { refresh_token, ..grant })
        }
    }
}

/// The session of a genuine refresh token, and whether it was used; decides nothing yet.
async fn refresh_state(identity: &Identity, token: &Opaque) -> Result<Option<(Session, bool)>, Error> {
    let mut db = identity.0.pool.acquire().await?;
    let Some(stored) = sessions::find_refresh(&mut db, token.id).await? else { return Ok(None) };
    if !token.matches(&identity.0.pepper, &stored.hash) {
        return Ok(None);
    }
    Ok(sessions::find(&mut db, stored.sid).await?.map(|session| (session, stored.used_at.is_some())))
}
