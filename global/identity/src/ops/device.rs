//! Device authorisation: a terminal asks, a person approves elsewhere, the terminal collects.

use time::Duration;

use super::tokens::{self, TokenGrant, Wanted};
use crate::domain::device::{Poll, decide_poll, read_user_code, show_user_code};
use crate::domain::opaque::{Opaque, Purpose};
use crate::error::Error;
use crate::ops::password;
use crate::store::devices::{self, DeviceGrant};
use crate::{Identity, ops, random};

/// Strangers may start device sign-ins; this many may wait at the same time.
const MAX_PENDING: i64 = 10_000;

#[derive(Debug)]
pub struct Started {
    pub device_code: String,
    pub user_code: String,
    pub expires_in: i64,
    pub interval: i32,
}

pub async fn start(identity: &Identity, client: &str, wanted: &Wanted, address: &str) -> Result<Started, Error> {
    if client.is_empty() || client.len() > 100 {
        return Err(Error::Invalid("client_id is required"));
    }
    password::device_started(identity, address).await?;
    let settings = &identity.0.settings;
    let (device, user_code) = (random::opaque(Purpose::Device)?, random::user_code()?);
    let grant = DeviceGrant {
        id: device.id,
        device_hash: device.hash(&identity.0.pepper).to_vec(),
        client: client.to_owned(),
        tenant: wanted.tenant.as_ref().map(ToString::to_string),
        scopes: wanted.scopes.clone(),
        state: String::new(),
        subject: None,
        interval_s: settings.device_interval_seconds,
        polled_at: None,
        expires_at: ops::now() + Duration::seconds(settings.device_seconds),
    };
    let mut db = kit::database::begin(&identity.0.pool).await?;
    if devices::pending(&mut db).await? >= MAX_PENDING {
        return Err(Error::Busy);
    }
    devices::insert(&mut db, &grant, &user_hash(identity, &user_code)).await?;
    db.commit().await?;
    Ok(Started {
        device_code: device.reveal(),
        user_code: show_user_code(&user_code),
        expires_in: settings.device_seconds,
        interval: settings.device_interval_seconds,
    })
}

fn user_hash(identity: &Identity, code: &str) -> [u8; 32] {
    identity.0.pepper.hash("user code", code.as_bytes())
}

/// A person's word on a code. The password comes with it, so there is no cookie to ride on.
pub async fn decide(
    identity: &Identity,
    typed_code: &str,
    email: &str,
    password: String,
    approve: bool,
    address: &str,
) -> Result<(), Error> {
    let subject = password::user(identity, email, password, address).await?;
    let decision = async {
        let code = read_user_code(typed_code).ok_or(Error::BadCredentials)?;
        let mut db = kit::database::begin(&identity.0.pool).await?;
        let found =
            devices::decide(&mut db, &user_hash(identity, &code), approve.then_some(subject), ops::now()).await?;
        db.commit().await?;
        if found { Ok(()) } else { Err(Error::BadCredentials) }
    };
    // Guessing codes counts as guessing.
    password::strong(identity, address, decision).await.map_err(|error| match error {
        Error::BadCredentials => Error::NotFound("pending code"),
        other => other,
    })
}

#[derive(Debug)]
pub enum Collected {
    Grant(TokenGrant),
    /// Not (yet) a token; never `Poll::Ready`.
    Wait(Poll),
}

pub async fn collect(identity: &Identity, device_code: &str) -> Result<Collected, Error> {
    let code = Opaque::parse(Purpose::Device, device_code).ok_or(Error::BadCredentials)?;
    let tenant = {
        let mut db = kit::database::begin(&identity.0.pool).await?;
        let grant = devices::lock(&mut db, code.id).await?.ok_or(Error::BadCredentials)?;
        if !code.matches(&identity.0.pepper, &grant.device_hash) {
            return Err(Error::BadCredentials);
        }
        let now = ops::now();
        let poll = decide_poll(grant.state(), grant.expires_at, grant.polled_at, grant.interval_s, now);
        if !matches!(poll, Poll::Ready(_)) {
            let slower_by = if poll == Poll::SlowDown { 5 } else { 0 };
            devices::record_poll(&mut db, grant.id, now, slower_by).await?;
            db.commit().await?;
            return Ok(Collected::Wait(poll));
        }
        grant.tenant
    };
    let tenant = tenant.map(contracts::TenantId::new).transpose().map_err(|_| Error::BadCredentials)?;
    let organisation = tokens::organisation_of(identity, tenant.as_ref()).await?;
    let mut db = kit::database::begin(&identity.0.pool).await?;
    let grant = devices::lock(&mut db, code.id).await?.ok_or(Error::BadCredentials)?;
    let now = ops::now();
    let poll = decide_poll(grant.state(), grant.expires_at, grant.polled_at, grant.interval_s, now);
    let Poll::Ready(subject) = poll else { return Ok(Collected::Wait(poll)) };
    devices::mark_used(&mut db, grant.id).await?;
    let wanted = Wanted { tenant, scopes: grant.scopes };
    let token = tokens::open_session(&mut db, identity, subject, "device", &wanted, organisation).await?;
    db.commit().await?;
    Ok(Collected::Grant(token))
}
