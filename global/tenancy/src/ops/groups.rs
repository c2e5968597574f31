//! Groups of routers, and which of them serve a tenant (docs/adr/0025-router-groups.md).

use contracts::groups::{Groups, MOST_GROUPS};
use contracts::routing::Change;
use contracts::{GroupId, TenantId};
use sqlx::{PgConnection, PgTransaction};

use crate::Tenancy;
use crate::domain::access::Caller;
use crate::error::Error;
use crate::ops::{log, tenants};
use crate::store::groups::{self, Group};

const MOST_ADDRESSES: usize = 16;

/// All that there are, as routers are told.
pub async fn all(db: &mut PgConnection) -> Result<Groups, Error> {
    Ok(Groups { ids: groups::ids(db).await? })
}

/// Makes a group or changes its addresses; routers hear of a new one. Saying the same again changes nothing.
pub async fn put(tenancy: &Tenancy, caller: &Caller, id: &GroupId, addresses: &[String]) -> Result<(), Error> {
    if !caller.is_platform() {
        return Err(Error::Forbidden);
    }
    if addresses.len() > MOST_ADDRESSES || addresses.iter().any(|at| at.parse::<std::net::IpAddr>().is_err()) {
        return Err(Error::Invalid("addresses are at most 16 IP addresses"));
    }
    let mut db = tenancy.0.election.begin(&tenancy.0.pool).await?;
    let before = groups::ids(&mut db).await?;
    if before.len() >= MOST_GROUPS && !before.contains(id) {
        return Err(Error::Placement("there are as many groups as there may be"));
    }
    groups::upsert(&mut db, id, addresses).await?;
    if before.contains(id) {
        return Ok(db.commit().await?);
    }
    tell(tenancy, caller, db).await
}

pub async fn remove(tenancy: &Tenancy, caller: &Caller, id: &GroupId) -> Result<(), Error> {
    if !caller.is_platform() {
        return Err(Error::Forbidden);
    }
    let mut db = tenancy.0.election.begin(&tenancy.0.pool).await?;
    if !groups::delete(&mut db, id).await? {
        return Err(Error::NotFound("group of routers"));
    }
    tell(tenancy, caller, db).await
}

async fn tell(tenancy: &Tenancy, caller: &Caller, mut db: PgTransaction<'static>) -> Result<(), Error> {
    let groups = all(&mut db).await?;
    log(tenancy, caller, db, &Change::GroupsChanged { groups }, &[]).await
}

pub async fn list(tenancy: &Tenancy, caller: &Caller) -> Result<Vec<Group>, Error> {
    if !caller.is_platform() {
        return Err(Error::Forbidden);
    }
    groups::list(&mut *tenancy.0.pool.acquire().await?).await
}

/// Those that serve a tenant: where its hosts are to lead.
pub async fn of_tenant(tenancy: &Tenancy, caller: &Caller, id: &TenantId) -> Result<Vec<Group>, Error> {
    tenants::find(tenancy, caller, id).await?;
    let mut db = tenancy.0.pool.acquire().await?;
    let all = all(&mut db).await?;
    let serving = all.of(id.as_str());
    let mut groups = groups::list(&mut db).await?;
    groups.retain(|group| serving.iter().any(|id| id.as_str() == group.id));
    Ok(groups)
}
