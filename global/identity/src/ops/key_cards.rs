//! Makes the cards of API keys that are bound to a tenant (docs/adr/0020-api-keys-at-the-door.md).

use contracts::TenantId;
use contracts::key_cards::{AUDIENCE, Card};
use time::Duration;
use uuid::Uuid;

use super::tokens::{Wanted, authority, claims, organisation_of};
use crate::error::Error;
use crate::store::api_keys;
use crate::store::key_cards::{self, Due, Made};
use crate::store::sessions::{self, Session};
use crate::{Identity, ops};

/// Keys looked at in one go.
const BATCH: i64 = 200;

/// Makes the cards that are due; answers whether there may be more.
pub async fn issue(identity: &Identity) -> Result<bool, Error> {
    let due = key_cards::due(&mut *identity.0.pool.acquire().await?, ops::now(), BATCH).await?;
    for key in &due {
        match make(identity, key).await {
            Ok(()) => {}
            // The key may do nothing there now; whatever changes that makes its card due again.
            Err(Error::BadCredentials | Error::Scope) => {
                key_cards::wait(&mut *identity.0.pool.acquire().await?, key).await?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(due.len() as i64 == BATCH)
}

async fn make(identity: &Identity, due: &Due) -> Result<(), Error> {
    let now = ops::now();
    let tenant = TenantId::new(&*due.tenant).map_err(|_| Error::Broken("a stored tenant is not well formed"))?;
    let wanted = Wanted::new(Some(tenant), None);
    let organisation = organisation_of(identity, wanted.tenant.as_ref()).await?;
    let mut db = kit::database::begin(&identity.0.pool).await?;
    let key = api_keys::hold(&mut db, due.key).await?.filter(|key| key.live(now)).ok_or(Error::BadCredentials)?;
    let authority = authority(&mut db, key.subject, &wanted, organisation, key.scopes.as_deref()).await?;
    let life = Duration::seconds(identity.0.settings.key_card_seconds);
    let ends = key.expires_at.map_or(now + life, |end| end.min(now + life));
    let session = Session {
        sid: Uuid::now_v7(),
        subject: key.subject,
        kind: "card".to_owned(),
        api_key: Some(key.id),
        tenant: key.tenant,
        scopes: None,
        created_at: now,
        expires_at: ends,
        revoked_at: None,
    };
    sessions::insert(&mut db, &session).await?;
    let claims = claims(&session, &wanted, authority, (now.unix_timestamp(), ends.unix_timestamp()));
    let claims = contracts::Claims { aud: AUDIENCE.to_owned(), ..claims };
    let card = identity.0.ring.mint_card(&Card { claims, key: key.id, dig: due.digest.clone() })?;
    let made = Made { card, expires_at: ends, next: now + life / 2 };
    if key_cards::put(&mut db, due, &made).await? {
        db.commit().await?;
    }
    Ok(())
}
