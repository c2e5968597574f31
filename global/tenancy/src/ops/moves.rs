//! Moves: begun, looked at, cancelled; and their steps that are transactions here.

use contracts::routing::Change;
use contracts::{Generation, TenantId};
use uuid::Uuid;

use crate::Tenancy;
use crate::domain::access::Caller;
use crate::domain::moving::Step;
use crate::domain::placement::{Wish, choose};
use crate::error::Error;
use crate::ops::cells::claim;
use crate::ops::{log, tenants};
use crate::store::cells::Near;
use crate::store::moves::{self, Move};
use crate::store::{cells, tenants as rows, writer};

/// Begins to move a tenant. The same again is answered with the move that is under way.
pub async fn begin(tenancy: &Tenancy, caller: &Caller, id: &TenantId, target: &str) -> Result<(Move, bool), Error> {
    let mut db = tenancy.0.election.begin(&tenancy.0.pool).await?;
    let tenant = tenants::lock_own(&mut db, caller, id).await?;
    if !caller.is_platform() {
        return Err(Error::Forbidden);
    }
    if let Some(running) = moves::under_way_of(&mut db, id.as_str()).await? {
        return if running.target == target { Ok((running, false)) } else { Err(Error::Moving) };
    }
    let source = tenant.cell.ok_or(Error::Broken("an active tenant has no cell"))?;
    if source == target {
        return Err(Error::Invalid("the tenant lives in that cell"));
    }
    let (organisation, region, apart) = (&*tenant.organisation, tenant.region.as_deref(), tenant.apart.as_deref());
    let candidates = cells::candidates(&mut db, Near::Of(organisation, apart)).await?;
    choose(&candidates, &Wish { organisation, region, apart, named: Some(target), by_platform: true })?;
    claim(&mut db, target, &tenant.organisation).await?;
    let new = Uuid::now_v7();
    moves::insert(&mut db, new, id.as_str(), &source, target, &caller.subject).await?;
    let begun = moves::lock(&mut db, new).await?.ok_or(Error::NotFound("move"))?;
    db.commit().await?;
    tenancy.0.moves_wanted.notify_one();
    Ok((begun, true))
}

/// All that are not over, oldest first.
pub async fn under_way(tenancy: &Tenancy, caller: &Caller) -> Result<Vec<Move>, Error> {
    if !caller.is_platform() {
        return Err(Error::Forbidden);
    }
    moves::under_way(&mut *tenancy.0.pool.acquire().await?).await
}

pub async fn list(
    tenancy: &Tenancy,
    caller: &Caller,
    id: &TenantId,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Move>, Error> {
    tenants::find(tenancy, caller, id).await?;
    moves::list(&mut *tenancy.0.pool.acquire().await?, id.as_str(), before, limit).await
}

/// Gives a move up that has not fenced its tenant. A tenant that was closed is placed where it is, anew.
pub async fn cancel(tenancy: &Tenancy, caller: &Caller, id: &TenantId) -> Result<Move, Error> {
    let mut db = tenancy.0.election.begin(&tenancy.0.pool).await?;
    tenants::lock_own(&mut db, caller, id).await?;
    if !caller.is_platform() {
        return Err(Error::Forbidden);
    }
    let running = moves::under_way_of(&mut db, id.as_str()).await?.ok_or(Error::NotFound("move"))?;
    if !running.step()?.can_be_cancelled() {
        return Err(Error::PastTheFence);
    }
    moves::advance(&mut db, running.id, Step::Back).await?;
    let cancelled = moves::lock(&mut db, running.id).await?.ok_or(Error::NotFound("move"))?;
    if running.generation.is_some() {
        let generation = writer::next_generation(&mut db).await?;
        rows::set_generation(&mut db, id.as_str(), &running.source, generation).await?;
        rows::record_placement(&mut db, id.as_str(), &running.source, generation).await?;
        tenants::publish(tenancy, caller, db, id, &[]).await?;
    } else {
        db.commit().await?;
    }
    tenancy.0.moves_wanted.notify_one();
    Ok(cancelled)
}

/// The move, if it still stands at `step`: somebody else may have cancelled it, or led it on.
async fn at(tenancy: &Tenancy, id: Uuid, step: Step) -> Result<(sqlx::PgTransaction<'static>, Move), Error> {
    let mut db = tenancy.0.election.begin(&tenancy.0.pool).await?;
    let now = moves::lock(&mut db, id).await?.ok_or(Error::NotFound("move"))?;
    if now.step()? == step { Ok((db, now)) } else { Err(Error::Overtaken) }
}

/// The step is done.
pub async fn advance(tenancy: &Tenancy, id: Uuid, step: Step) -> Result<Step, Error> {
    let (mut db, _) = at(tenancy, id, step).await?;
    moves::advance(&mut db, id, step.next()).await?;
    db.commit().await?;
    Ok(step.next())
}

/// Issues two generations and has the tenant's cell let nothing in. At the first, its rows are carried; at the second,
/// it is entered again: so what is carried late finds the door shut (`carried_at`). Once is enough.
pub async fn close(tenancy: &Tenancy, id: Uuid) -> Result<(), Error> {
    let (mut db, now) = at(tenancy, id, Step::Close).await?;
    if now.generation.is_some() {
        return Ok(());
    }
    let tenant = TenantId::new(now.tenant).map_err(crate::store::routing::ill_formed)?;
    writer::next_generation(&mut db).await?;
    let generation = writer::next_generation(&mut db).await?;
    moves::close(&mut db, id, generation).await?;
    rows::set_leaving(&mut db, tenant.as_str(), generation).await?;
    let change = Change::TenantLeaving { tenant, generation: Generation(generation.unsigned_abs()) };
    log(tenancy, &Caller::plane(), db, &change, &[now.source]).await
}

/// The generation at which rows are carried: the one before that at which the tenant is entered.
pub fn carried_at(entered_at: Generation) -> Generation {
    Generation(entered_at.0.saturating_sub(1))
}

/// Places the tenant in its new cell, and says that the move has come so far, in one transaction.
pub async fn switch(tenancy: &Tenancy, id: Uuid) -> Result<Step, Error> {
    let (mut db, now) = at(tenancy, id, Step::Switch).await?;
    let generation = now.generation.ok_or(Error::Broken("a move past its close has no generation"))?;
    let tenant = TenantId::new(now.tenant).map_err(crate::store::routing::ill_formed)?;
    rows::set_generation(&mut db, tenant.as_str(), &now.target, generation).await?;
    rows::record_placement(&mut db, tenant.as_str(), &now.target, generation).await?;
    moves::open(&mut db, id).await?;
    moves::advance(&mut db, id, Step::Clean).await?;
    tenants::publish(tenancy, &Caller::plane(), db, &tenant, &[now.source]).await?;
    Ok(Step::Clean)
}
