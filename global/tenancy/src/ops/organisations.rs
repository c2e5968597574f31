//! Organisations.

use crate::domain::access::Caller;
use crate::error::Error;
use crate::store::organisations::{self, Organisation};
use crate::{Tenancy, ops};

/// Creates an organisation; the same again is answered with what is there. The flag says whether it is new.
pub async fn create(tenancy: &Tenancy, caller: &Caller, id: &str, name: &str) -> Result<(Organisation, bool), Error> {
    if !caller.is_platform() {
        return Err(Error::Forbidden);
    }
    // Organisations are named like tenants: lower-case slugs.
    contracts::TenantId::new(id)
        .map_err(|_| Error::Invalid("an id is 2 to 39 characters of a-z, 0-9 and '-', beginning with a letter"))?;
    let name = ops::check_name(name)?;
    let mut db = kit::database::begin(&tenancy.0.pool).await?;
    let new = organisations::insert(&mut db, id, name).await?;
    let stored = organisations::find(&mut db, id).await?.ok_or(Error::NotFound("organisation"))?;
    db.commit().await?;
    if stored.name == name { Ok((stored, new)) } else { Err(Error::Exists("organisation")) }
}

pub async fn list(
    tenancy: &Tenancy,
    caller: &Caller,
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<Organisation>, Error> {
    organisations::list(&mut *tenancy.0.pool.acquire().await?, caller.horizon(), after, limit).await
}

pub async fn find(tenancy: &Tenancy, caller: &Caller, id: &str) -> Result<Organisation, Error> {
    if !caller.administers(id) {
        return Err(Error::NotFound("organisation"));
    }
    let found = organisations::find(&mut *tenancy.0.pool.acquire().await?, id).await?;
    found.ok_or(Error::NotFound("organisation"))
}
