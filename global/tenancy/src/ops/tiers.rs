//! Tiers: what classes of tenants may use of each router.

use contracts::TierId;
use contracts::routing::Change;
use contracts::tiers::Tier;

use crate::Tenancy;
use crate::domain::access::Caller;
use crate::error::Error;
use crate::ops::log;
use crate::store::tiers;

const MOST_WEIGHT: u32 = 1_000;

/// Makes a tier or changes it. The log grows only when it does change.
pub async fn put(tenancy: &Tenancy, caller: &Caller, tier: &Tier) -> Result<(), Error> {
    if !caller.is_platform() {
        return Err(Error::Forbidden);
    }
    if !tier.is_sound() {
        return Err(Error::Invalid("a rate needs a burst of at least 1"));
    }
    if !(1..=MOST_WEIGHT).contains(&tier.weight) {
        return Err(Error::Invalid("a weight is 1 to 1000"));
    }
    let mut db = tenancy.0.election.begin(&tenancy.0.pool).await?;
    if tiers::find(&mut db, &tier.tier).await?.as_ref() == Some(tier) {
        return Ok(());
    }
    tiers::upsert(&mut db, tier).await?;
    log(tenancy, caller, db, &Change::TierUpserted { tier: tier.clone() }, &[]).await
}

/// Everybody who administers something may know what there is to be had.
pub async fn list(
    tenancy: &Tenancy,
    caller: &Caller,
    only: Option<&str>,
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<Tier>, Error> {
    if caller.horizon() == Some("") {
        return Err(Error::Forbidden);
    }
    tiers::list(&mut *tenancy.0.pool.acquire().await?, only, after, limit).await
}

/// Removes a tier without tenants; of the standard one, only its limits.
pub async fn remove(tenancy: &Tenancy, caller: &Caller, id: &TierId) -> Result<(), Error> {
    if !caller.is_platform() {
        return Err(Error::Forbidden);
    }
    let mut db = tenancy.0.election.begin(&tenancy.0.pool).await?;
    tiers::find(&mut db, id).await?.ok_or(Error::NotFound("tier"))?;
    if tiers::is_in_use(&mut db, id).await? {
        return Err(Error::TierInUse);
    }
    tiers::delete(&mut db, id).await?;
    log(tenancy, caller, db, &Change::TierRemoved { tier: id.clone() }, &[]).await
}
