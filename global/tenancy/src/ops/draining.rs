//! Drains: begun, looked at, stopped, and their steps.

use std::collections::{BTreeMap, BTreeSet};

use contracts::CellId;
use contracts::routing::Change;
use sqlx::PgTransaction;
use uuid::Uuid;

use crate::Tenancy;
use crate::domain::access::Caller;
use crate::domain::draining::{Destinations, Way, step_of};
use crate::domain::placement::CellState;
use crate::error::Error;
use crate::ops::cells::claim;
use crate::store::cells::{self, Cell, Near};
use crate::store::drains::{self, Drain};
use crate::store::{moves, routing, tenants, writer};

const GIVEN_UP: &str = "its cell was given up";

/// What a step of a drain has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// There may be more to do at once.
    Went,
    /// Moves are under way.
    Waits,
    Ended,
}

/// Where the cell's tenants would go, and how many each cell would get.
async fn shares(
    db: &mut PgTransaction<'static>,
    cell: &str,
    target: Option<&str>,
) -> Result<BTreeMap<String, i64>, Error> {
    if target == Some(cell) {
        return Err(Error::Invalid("that is the cell itself"));
    }
    let candidates = cells::candidates(db, Near::All(cell)).await?;
    if target.is_some_and(|target| !candidates.iter().any(|known| known.id == target)) {
        return Err(Error::Invalid("the cell does not exist"));
    }
    let groups = drains::groups_in(db, cell).await?;
    Ok(Destinations::new(candidates, cell, target).share_out(&groups)?)
}

/// What [`begin`] would do, without doing it.
pub async fn plan(
    tenancy: &Tenancy,
    caller: &Caller,
    cell: &CellId,
    target: Option<&str>,
) -> Result<BTreeMap<String, i64>, Error> {
    if !caller.is_platform() {
        return Err(Error::Forbidden);
    }
    let mut db = kit::database::begin(&tenancy.0.pool).await?;
    cells::lock(&mut db, cell.as_str()).await?.ok_or(Error::NotFound("cell"))?;
    shares(&mut db, cell.as_str(), target).await
}

/// Begins to empty a cell; answers how many tenants are in it, and whether the drain is new. The same again is answered
/// with the one that is under way.
pub async fn begin(
    tenancy: &Tenancy,
    caller: &Caller,
    cell: &CellId,
    way: Way,
    target: Option<&str>,
) -> Result<(Drain, i64, bool), Error> {
    if !caller.is_platform() {
        return Err(Error::Forbidden);
    }
    let mut db = tenancy.0.election.begin(&tenancy.0.pool).await?;
    let known = cells::lock(&mut db, cell.as_str()).await?.ok_or(Error::NotFound("cell"))?;
    if let Some(running) = drains::under_way_of(&mut db, cell.as_str()).await? {
        let same = running.way()? == way && running.target.as_deref() == target;
        let left = cells::tenants_in(&mut db, cell.as_str()).await?;
        return if same { Ok((running, left, false)) } else { Err(Error::Draining) };
    }
    if known.state()? == CellState::Retired {
        return Err(Error::Placement("the cell is retired"));
    }
    // Refused now, not at the last tenant.
    let tenants = shares(&mut db, cell.as_str(), target).await?.values().sum();
    set_state(&mut db, known, CellState::Draining).await?;
    let head = if way == Way::Route { end_moves(&mut db, cell.as_str()).await? } else { None };
    let id = Uuid::now_v7();
    drains::insert(&mut db, id, cell.as_str(), way, target, tenants, &caller.subject).await?;
    let begun = drains::under_way_of(&mut db, cell.as_str()).await?.ok_or(Error::NotFound("drain"))?;
    db.commit().await?;
    head.into_iter().for_each(|head| tenancy.heard(head));
    tenancy.0.drains_wanted.notify_one();
    Ok((begun, tenants, true))
}

/// Ends the moves that need a lost cell. A tenant on its way into it stays where it is, with all that it has.
async fn end_moves(db: &mut PgTransaction<'static>, cell: &str) -> Result<Option<u64>, Error> {
    drains::end_moves_out_of(db, cell, GIVEN_UP).await?;
    let (ids, sources): (Vec<_>, Vec<_>) = drains::end_moves_into(db, cell, GIVEN_UP).await?.into_iter().unzip();
    if ids.is_empty() { Ok(None) } else { place(db, &ids, &sources, cell).await.map(Some) }
}

async fn set_state(db: &mut PgTransaction<'static>, cell: Cell, state: CellState) -> Result<(), Error> {
    cells::upsert(db, &Cell { state: state.name().to_owned(), ..cell }).await
}

/// Those of a cell, newest first, and how many tenants it has now.
pub async fn list(
    tenancy: &Tenancy,
    caller: &Caller,
    cell: &CellId,
    before: Option<Uuid>,
    limit: i64,
) -> Result<(Vec<Drain>, i64), Error> {
    if !caller.is_platform() {
        return Err(Error::Forbidden);
    }
    let mut db = tenancy.0.pool.acquire().await?;
    cells::find(&mut db, cell.as_str()).await?.ok_or(Error::NotFound("cell"))?;
    let drains = drains::list(&mut db, cell.as_str(), before, limit).await?;
    Ok((drains, cells::tenants_in(&mut db, cell.as_str()).await?))
}

/// Stops a drain. What was brought away stays there, and moves that have begun go on; the cell takes tenants again.
pub async fn cancel(tenancy: &Tenancy, caller: &Caller, cell: &CellId) -> Result<(Drain, i64), Error> {
    if !caller.is_platform() {
        return Err(Error::Forbidden);
    }
    let mut db = tenancy.0.election.begin(&tenancy.0.pool).await?;
    let known = cells::lock(&mut db, cell.as_str()).await?.ok_or(Error::NotFound("cell"))?;
    let running = drains::under_way_of(&mut db, cell.as_str()).await?.ok_or(Error::NotFound("drain"))?;
    drains::end(&mut db, running.id, true).await?;
    set_state(&mut db, known, CellState::Serving).await?;
    let stopped = drains::find(&mut db, running.id).await?.ok_or(Error::NotFound("drain"))?;
    let left = cells::tenants_in(&mut db, cell.as_str()).await?;
    db.commit().await?;
    Ok((stopped, left))
}

/// Does the next of a drain's steps.
pub async fn step(tenancy: &Tenancy, drain: &Drain) -> Result<Progress, Error> {
    let mut db = tenancy.0.election.begin(&tenancy.0.pool).await?;
    let cell = cells::lock(&mut db, &drain.cell).await?;
    let running = drains::under_way_of(&mut db, &drain.cell).await?.filter(|now| now.id == drain.id);
    let (Some(cell), Some(running)) = (cell, running) else { return Ok(Progress::Ended) };
    match running.way()? {
        Way::Move => begin_moves(tenancy, db, cell, &running).await,
        Way::Route => change_routes(tenancy, db, cell, &running).await,
    }
}

/// The cell is empty, or something is still on its way out of it.
async fn end(mut db: PgTransaction<'static>, cell: Cell, drain: &Drain) -> Result<Progress, Error> {
    if cells::tenants_in(&mut db, &cell.id).await? > 0 || drains::moves_of(&mut db, &cell.id).await? > 0 {
        return Ok(Progress::Waits);
    }
    drains::end(&mut db, drain.id, false).await?;
    set_state(&mut db, cell, CellState::Drained).await?;
    db.commit().await?;
    Ok(Progress::Ended)
}

async fn begin_moves(
    tenancy: &Tenancy,
    mut db: PgTransaction<'static>,
    cell: Cell,
    drain: &Drain,
) -> Result<Progress, Error> {
    // Twice what is led at once, so that no leader waits for the next look.
    let most = i64::try_from(tenancy.0.settings.moves_at_once * 2).unwrap_or(i64::MAX);
    let room = most - drains::moves_of(&mut db, &cell.id).await?;
    let waiting = drains::waiting_in(&mut db, &cell.id, most).await?;
    if waiting.is_empty() {
        return end(db, cell, drain).await;
    }
    let candidates = cells::candidates(&mut db, Near::All(&cell.id)).await?;
    let mut destinations = Destinations::new(candidates, &cell.id, drain.target.as_deref());
    for tenant in waiting.iter().take(usize::try_from(room).unwrap_or_default()) {
        let target = destinations.next(&tenant.organisation, tenant.region.as_deref(), tenant.apart.as_deref())?;
        claim(&mut db, &target, &tenant.organisation).await?;
        moves::insert(&mut db, Uuid::now_v7(), &tenant.id, &cell.id, &target, &Caller::plane().subject).await?;
    }
    db.commit().await?;
    tenancy.0.moves_wanted.notify_one();
    Ok(Progress::Waits)
}

async fn change_routes(
    tenancy: &Tenancy,
    mut db: PgTransaction<'static>,
    cell: Cell,
    drain: &Drain,
) -> Result<Progress, Error> {
    let waiting = drains::waiting_in(&mut db, &cell.id, step_of(drain.tenants)).await?;
    if waiting.is_empty() {
        return end(db, cell, drain).await;
    }
    let candidates = cells::candidates(&mut db, Near::All(&cell.id)).await?;
    let mut destinations = Destinations::new(candidates, &cell.id, drain.target.as_deref());
    let (mut ids, mut targets, mut claims) = (Vec::new(), Vec::new(), BTreeSet::new());
    for tenant in waiting {
        let target = destinations.next(&tenant.organisation, tenant.region.as_deref(), tenant.apart.as_deref())?;
        if claims.insert(target.clone()) {
            claim(&mut db, &target, &tenant.organisation).await?;
        }
        ids.push(tenant.id);
        targets.push(target);
    }
    let head = place(&mut db, &ids, &targets, &cell.id).await?;
    db.commit().await?;
    tenancy.heard(head);
    Ok(Progress::Went)
}

/// Places each tenant in the cell of the same index, at a new generation, and logs it. `lost` is told too.
async fn place(db: &mut PgTransaction<'static>, ids: &[String], targets: &[String], lost: &str) -> Result<u64, Error> {
    let first = writer::next_generations(db, ids.len()).await?;
    tenants::place_all(db, ids, targets, first).await?;
    let mut changes = Vec::new();
    for route in routing::routes_of(db, ids).await? {
        let cells = vec![route.cell.to_string(), lost.to_owned()];
        changes.push((Change::TenantPlaced { route }, cells));
    }
    routing::append_all(db, &changes, &Caller::plane().subject).await
}
