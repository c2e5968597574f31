//! What must hold of a run when everything has come to rest.

use std::collections::{BTreeMap, BTreeSet};

use contracts::TenantId;

use super::world::{CELLS, Fault, Outcome, Seen, World, cell};

/// Longest that a request may have taken when only requests of leaders fail, in virtual milliseconds: what a router
/// lets one wait and a slow one takes in its cell.
const MOST_STALL: u64 = 20_000;

pub fn of(world: &World) -> Result<(), String> {
    let seen = world.seen.lock().clone();
    for tenant in world.tenants() {
        let own: Vec<&Seen> = seen.iter().filter(|seen| seen.tenant == tenant).collect();
        nothing_old_is_read(&own)?;
        everything_is_there_once(world, &tenant, &own)?;
    }
    let table = world.desk.lock().table();
    table.validate().map_err(|error| error.to_string())?;
    if matches!(world.fault, Fault::Requests | Fault::Leaders) {
        nobody_is_turned_away(world, &seen)?;
    }
    Ok(())
}

/// A read shows every write that was acknowledged before it began.
fn nothing_old_is_read(own: &[&Seen]) -> Result<(), String> {
    for read in own {
        let Outcome::Read(rows) = &read.outcome else { continue };
        let shown: BTreeSet<u64> = rows.iter().copied().collect();
        if shown.len() != rows.len() {
            return Err(format!("a write is there twice: {rows:?}"));
        }
        for write in own.iter().filter(|write| write.to < read.from) {
            if let Outcome::Stored(op) = write.outcome
                && !shown.contains(&op)
            {
                return Err(format!("{}: {op} of {} ms is not read at {} ms", read.tenant, write.to, read.from));
            }
        }
    }
    Ok(())
}

fn everything_is_there_once(world: &World, tenant: &TenantId, own: &[&Seen]) -> Result<(), String> {
    let home = world.desk.lock().tenants[tenant].cell.clone();
    let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
    for place in CELLS.map(cell) {
        let rows = world.store(&place, tenant, |store| store.rows.clone());
        if place != home && !rows.is_empty() {
            return Err(format!("{tenant} lives in {home}, and {place} has {rows:?}"));
        }
        rows.into_iter().for_each(|op| *counts.entry(op).or_default() += 1);
    }
    if let Some((op, count)) = counts.iter().find(|(_, count)| **count > 1) {
        return Err(format!("{tenant}: {op} is there {count} times"));
    }
    let acknowledged =
        own.iter().filter_map(|seen| if let Outcome::Stored(op) = seen.outcome { Some(op) } else { None });
    match acknowledged.into_iter().find(|op| !counts.contains_key(op)) {
        Some(op) => Err(format!("{tenant}: {op} was acknowledged and is lost")),
        None => Ok(()),
    }
}

/// Neither a router, nor a cell, nor what tells them of changes was in trouble, so callers only wait. A router tries a request once more: one that
/// met two placements of its tenant on its way may be turned away.
fn nobody_is_turned_away(world: &World, seen: &[Seen]) -> Result<(), String> {
    let placements = world.desk.lock().placements.clone();
    for seen in seen {
        if seen.to - seen.from > MOST_STALL {
            return Err(format!("a request took {} ms", seen.to - seen.from));
        }
        let met = placements.iter().filter(|(tenant, at)| *tenant == seen.tenant && (seen.from..=seen.to).contains(at));
        if seen.outcome == Outcome::TurnedAway && met.count() < 2 {
            return Err(format!("{}: turned away between {} and {} ms", seen.tenant, seen.from, seen.to));
        }
    }
    Ok(())
}
