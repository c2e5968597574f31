//! Members of tenants.

use contracts::TenantId;
use contracts::claims::scope;
use uuid::Uuid;

use crate::domain::access::{Caller, check_scopes};
use crate::error::Error;
use crate::store::key_cards;
use crate::store::members::{self, Member};
use crate::store::sessions::{self, Ending};
use crate::store::subjects;
use crate::{Identity, ops};

/// The tenant's organisation, if the caller administers it; to anybody else the tenant is unknown.
async fn administered(identity: &Identity, caller: &Caller, tenant: &TenantId) -> Result<String, Error> {
    let organisation = identity.0.directory.organisation_of(tenant).await.map_err(Error::Directory)?;
    organisation.filter(|o| caller.administers(Some(o))).ok_or(Error::NotFound("tenant"))
}

fn narrows(before: &[String], after: &[String]) -> bool {
    let all = |list: &[String]| list.iter().any(|s| s == scope::ALL);
    !all(after) && before.iter().any(|s| !after.contains(s))
}

/// Makes a member or changes its scopes. Losing one ends the member's sessions, so a member is an account
/// that the caller administers: nobody ends or reads another organisation's by inviting it first.
pub async fn put(
    identity: &Identity,
    caller: &Caller,
    tenant: &TenantId,
    subject: Uuid,
    scopes: Vec<String>,
) -> Result<Member, Error> {
    let organisation = administered(identity, caller, tenant).await?;
    let scopes = check_scopes(scopes).map_err(|_| Error::Scope)?;
    let mut db = kit::database::begin(&identity.0.pool).await?;
    let account = subjects::find(&mut db, subject).await?;
    account.filter(|a| caller.administers(a.organisation.as_deref())).ok_or(Error::NotFound("account"))?;
    let before = members::upsert(&mut db, tenant.as_str(), subject, &organisation, &scopes).await?;
    let now = ops::now();
    key_cards::all_due(&mut db, subject, now).await?;
    if before.is_some_and(|before| narrows(&before, &scopes)) {
        sessions::revoke(&mut db, Ending::OfSubject(subject), now, ops::revoked_until(now)).await?;
    }
    let member = members::find(&mut db, tenant.as_str(), subject).await?.ok_or(Error::NotFound("member"))?;
    db.commit().await?;
    Ok(member)
}

pub async fn list(
    identity: &Identity,
    caller: &Caller,
    tenant: &TenantId,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Member>, Error> {
    administered(identity, caller, tenant).await?;
    members::list(&mut *identity.0.pool.acquire().await?, tenant.as_str(), after, limit).await
}

pub async fn remove(identity: &Identity, caller: &Caller, tenant: &TenantId, subject: Uuid) -> Result<(), Error> {
    administered(identity, caller, tenant).await?;
    let now = ops::now();
    let mut db = kit::database::begin(&identity.0.pool).await?;
    if !members::delete(&mut db, tenant.as_str(), subject).await? {
        return Err(Error::NotFound("member"));
    }
    sessions::revoke(&mut db, Ending::OfSubject(subject), now, ops::revoked_until(now)).await?;
    Ok(db.commit().await?)
}

#[cfg(test)]
mod tests {
    use super::narrows;

    #[test]
    fn only_a_lost_scope_narrows() {
        let list = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert!(narrows(&list("*"), &list("sql:read")));
        assert!(narrows(&list("sql:read audit:read"), &list("sql:read")));
        assert!(!narrows(&list("sql:read"), &list("sql:read audit:read")));
        assert!(!narrows(&list("sql:read"), &list("*")));
    }
}
