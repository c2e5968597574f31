//! Tenants: created and placed in one transaction, under one writer.

use contracts::routing::{Change, Route};
use contracts::{CellId, Generation, TenantId, TierId};
use sqlx::PgTransaction;
use time::OffsetDateTime;

use crate::Tenancy;
use crate::domain::access::Caller;
use crate::domain::host::{RESERVED_TENANTS, is_reserved, normalise};
use crate::domain::placement::{Wish, choose};
use crate::error::Error;
use crate::ops::cells::claim;
use crate::ops::{check_word, log};
use crate::store::cells::Near;
use crate::store::routing::ill_formed;
use crate::store::tenants::{self, New, Tenant};
use crate::store::{cells, moves, organisations, tiers, writer};

const ACTIVE: &str = "active";

fn placed(tenant: &Tenant) -> Result<Change, Error> {
    let cell = tenant.cell.clone().ok_or(Error::Broken("an active tenant has no cell"))?;
    Ok(Change::TenantPlaced {
        route: Route {
            tenant: TenantId::new(tenant.id.clone()).map_err(ill_formed)?,
            cell: CellId::new(cell).map_err(ill_formed)?,
            generation: Generation(tenant.generation.unsigned_abs()),
            hosts: tenant.hosts.clone(),
            tier: tenant.tier.clone().map(TierId::new).transpose().map_err(ill_formed)?.unwrap_or_default(),
        },
    })
}

/// Reads the tenant as it is now, logs its route and commits. `left` are cells it comes from.
pub(super) async fn publish(
    tenancy: &Tenancy,
    caller: &Caller,
    mut db: PgTransaction<'static>,
    id: &TenantId,
    left: &[String],
) -> Result<Tenant, Error> {
    let tenant = tenants::lock(&mut db, id.as_str()).await?.ok_or(Error::NotFound("tenant"))?;
    let cells: Vec<String> = tenant.cell.iter().chain(left).cloned().collect();
    log(tenancy, caller, db, &placed(&tenant)?, &cells).await?;
    Ok(tenant)
}

/// The tenant, locked, if the caller administers it; unknown to anybody else.
pub(super) async fn lock_own(db: &mut PgTransaction<'static>, caller: &Caller, id: &TenantId) -> Result<Tenant, Error> {
    let tenant = tenants::lock(db, id.as_str()).await?;
    tenant.filter(|t| t.state == ACTIVE && caller.administers(&t.organisation)).ok_or(Error::NotFound("tenant"))
}

/// What a new tenant is to be.
#[derive(Debug, Clone, Copy, Default)]
pub struct Birth<'a> {
    pub organisation: &'a str,
    /// Placed by policy when absent.
    pub cell: Option<&'a str>,
    pub region: Option<&'a str>,
    /// No other tenant of the organisation with the same word is in its cell.
    pub apart: Option<&'a str>,
    pub tier: Option<&'a TierId>,
}

impl Birth<'_> {
    /// Whether a tenant that is there is what was asked for.
    fn is(&self, existing: &Tenant) -> bool {
        existing.state == ACTIVE
            && existing.organisation == self.organisation
            && self.cell.is_none_or(|cell| existing.cell.as_deref() == Some(cell))
            && self.region.is_none_or(|region| existing.region.as_deref() == Some(region))
            && self.apart.is_none_or(|apart| existing.apart.as_deref() == Some(apart))
            && self.tier.is_none_or(|tier| existing.tier.as_deref() == named(tier).map(TierId::as_str))
    }
}

/// Creates and places a tenant: it has a cell, a generation and a host, or it does not exist. The
/// same again is answered with what is there. The flag says whether it is new.
pub async fn create(
    tenancy: &Tenancy,
    caller: &Caller,
    id: &TenantId,
    birth: Birth<'_>,
) -> Result<(Tenant, bool), Error> {
    let Birth { organisation, region, apart, .. } = birth;
    // What a tenant may use is the platform's to say.
    if !caller.administers(organisation) || (birth.tier.is_some() && !caller.is_platform()) {
        return Err(Error::Forbidden);
    }
    if RESERVED_TENANTS.contains(&id.as_str()) {
        return Err(Error::Invalid("the id is a name of the platform's own"));
    }
    region.iter().chain(&apart).try_for_each(|word| check_word(word))?;
    let mut db = tenancy.0.election.begin(&tenancy.0.pool).await?;
    if let Some(existing) = tenants::lock(&mut db, id.as_str()).await? {
        return if birth.is(&existing) { Ok((existing, false)) } else { Err(Error::Exists("tenant")) };
    }
    organisations::find(&mut db, organisation).await?.ok_or(Error::Invalid("the organisation does not exist"))?;
    let tier = existing_tier(&mut db, birth.tier).await?;
    let candidates = cells::candidates(&mut db, Near::Of(organisation, apart)).await?;
    let wish = Wish { organisation, region, apart, named: birth.cell, by_platform: caller.is_platform() };
    let chosen = choose(&candidates, &wish)?;
    claim(&mut db, &chosen.id, organisation).await?;
    let generation = writer::next_generation(&mut db).await?;
    let new = New { id: id.as_str(), organisation, cell: &chosen.id, generation, tier, region, apart };
    tenants::insert(&mut db, new).await?;
    tenants::record_placement(&mut db, id.as_str(), &chosen.id, generation).await?;
    tenants::add_host(&mut db, id.as_str(), &format!("{id}.{}", tenancy.0.settings.host_suffix), true).await?;
    publish(tenancy, caller, db, id, &[]).await.map(|tenant| (tenant, true))
}

/// Refuses what would cross a move.
async fn stays(db: &mut PgTransaction<'static>, id: &TenantId) -> Result<(), Error> {
    if moves::under_way_of(db, id.as_str()).await?.is_some() { Err(Error::Moving) } else { Ok(()) }
}

/// The standard tier is stored as none.
fn named(tier: &TierId) -> Option<&TierId> {
    Some(tier).filter(|tier| **tier != TierId::default())
}

/// The tier as it is stored, if there is such a one.
async fn existing_tier<'a>(
    db: &mut PgTransaction<'static>,
    tier: Option<&'a TierId>,
) -> Result<Option<&'a TierId>, Error> {
    let Some(tier) = tier.and_then(named) else { return Ok(None) };
    tiers::find(db, tier).await?.ok_or(Error::Invalid("the tier does not exist"))?;
    Ok(Some(tier))
}

/// The routers hear of it like of a placement; the generation stays, and so does every request under way.
pub async fn set_tier(tenancy: &Tenancy, caller: &Caller, id: &TenantId, tier: &TierId) -> Result<Tenant, Error> {
    let mut db = tenancy.0.election.begin(&tenancy.0.pool).await?;
    let tenant = lock_own(&mut db, caller, id).await?;
    if !caller.is_platform() {
        return Err(Error::Forbidden);
    }
    let tier = existing_tier(&mut db, Some(tier)).await?;
    if tenant.tier.as_deref() == tier.map(TierId::as_str) {
        return Ok(tenant);
    }
    tenants::set_tier(&mut db, id.as_str(), tier).await?;
    publish(tenancy, caller, db, id, &[]).await
}

/// A new generation: every request that carries an older one is refused from then on. In the same cell only: to
/// another one leads a move.
pub async fn place(tenancy: &Tenancy, caller: &Caller, id: &TenantId, cell: &str) -> Result<Tenant, Error> {
    let mut db = tenancy.0.election.begin(&tenancy.0.pool).await?;
    let tenant = lock_own(&mut db, caller, id).await?;
    if tenant.cell.as_deref() != Some(cell) {
        return Err(Error::NoMoves);
    }
    stays(&mut db, id).await?;
    let generation = writer::next_generation(&mut db).await?;
    tenants::set_generation(&mut db, id.as_str(), cell, generation).await?;
    tenants::record_placement(&mut db, id.as_str(), cell, generation).await?;
    publish(tenancy, caller, db, id, &[]).await
}

pub async fn placements(
    tenancy: &Tenancy,
    caller: &Caller,
    id: &TenantId,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<(i64, String, OffsetDateTime)>, Error> {
    find(tenancy, caller, id).await?;
    tenants::placements(&mut *tenancy.0.pool.acquire().await?, id.as_str(), before, limit).await
}

pub async fn list(
    tenancy: &Tenancy,
    caller: &Caller,
    organisation: Option<&str>,
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<Tenant>, Error> {
    tenants::list(&mut *tenancy.0.pool.acquire().await?, caller.horizon(), organisation, None, after, limit).await
}

pub async fn find(tenancy: &Tenancy, caller: &Caller, id: &TenantId) -> Result<Tenant, Error> {
    let mut db = tenancy.0.pool.acquire().await?;
    let found = tenants::list(&mut db, caller.horizon(), None, Some(id.as_str()), None, 1).await?.pop();
    found.ok_or(Error::NotFound("tenant"))
}

/// The tenant leaves the routing table; its data stays in the cell until somebody removes it there.
pub async fn remove(tenancy: &Tenancy, caller: &Caller, id: &TenantId) -> Result<(), Error> {
    let mut db = tenancy.0.election.begin(&tenancy.0.pool).await?;
    let tenant = lock_own(&mut db, caller, id).await?;
    stays(&mut db, id).await?;
    tenants::remove(&mut db, id.as_str()).await?;
    let cells: Vec<String> = tenant.cell.into_iter().collect();
    log(tenancy, caller, db, &Change::TenantRemoved { tenant: id.clone() }, &cells).await
}

/// Adds a host of the tenant's own. Whether its DNS leads here is the tenant's business; two
/// tenants never share one.
pub async fn add_host(tenancy: &Tenancy, caller: &Caller, id: &TenantId, host: &str) -> Result<Tenant, Error> {
    let host = normalise(host).ok_or(Error::Invalid("the host is not a DNS name"))?;
    if is_reserved(&host, &tenancy.0.settings.host_suffix) {
        return Err(Error::Invalid("the host lies under the platform's own name"));
    }
    let mut db = tenancy.0.election.begin(&tenancy.0.pool).await?;
    let tenant = lock_own(&mut db, caller, id).await?;
    if tenant.hosts.contains(&host) {
        return Ok(tenant);
    }
    if tenant.hosts.len() > tenancy.0.settings.max_custom_hosts {
        return Err(Error::Placement("the tenant has as many hosts as it may have"));
    }
    tenants::add_host(&mut db, id.as_str(), &host, false).await?;
    publish(tenancy, caller, db, id, &[]).await
}

pub async fn remove_host(tenancy: &Tenancy, caller: &Caller, id: &TenantId, host: &str) -> Result<Tenant, Error> {
    let host = normalise(host).ok_or(Error::NotFound("host"))?;
    if is_reserved(&host, &tenancy.0.settings.host_suffix) {
        return Err(Error::Invalid("a tenant keeps its own host"));
    }
    let mut db = tenancy.0.election.begin(&tenancy.0.pool).await?;
    let tenant = lock_own(&mut db, caller, id).await?;
    if !tenant.hosts.contains(&host) {
        return Err(Error::NotFound("host"));
    }
    tenants::remove_host(&mut db, id.as_str(), &host).await?;
    publish(tenancy, caller, db, id, &[]).await
}
