//! A whole table on its way in: checked and packed while its routes come, so that it is never there twice.

use std::collections::BTreeSet;

use contracts::groups::Groups;
use contracts::routing::{ApplyError, CellEndpoint, Route, check_tier};
use contracts::tiers::Tier;
use contracts::{CellId, TierId};

use super::follower::StepError;
use super::pack::Packing;
use super::{Cell, TableError, View, canonical};

#[derive(Debug)]
pub(super) struct Incoming {
    version: u64,
    cells: BTreeSet<CellId>,
    tiers: BTreeSet<TierId>,
    packing: Packing,
    tenants: u64,
}

impl Incoming {
    pub fn begin(
        version: u64,
        (removed, groups): (u64, Groups),
        cells: Vec<CellEndpoint>,
        tiers: Vec<Tier>,
    ) -> Result<Self, TableError> {
        tiers.iter().try_for_each(check_tier)?;
        for endpoint in &cells {
            Cell::new(endpoint.clone(), 0)?;
        }
        let named: BTreeSet<CellId> = cells.iter().map(|endpoint| endpoint.cell.clone()).collect();
        let tiered: BTreeSet<TierId> = tiers.iter().map(|tier| tier.tier.clone()).collect();
        if (named.len(), tiered.len()) != (cells.len(), tiers.len()) {
            return Err(TableError::Shape("a cell or a tier is there twice".to_owned()));
        }
        let packing = Packing::new(version, (removed, groups), cells.into_iter(), tiers.into_iter());
        Ok(Self { version, cells: named, tiers: tiered, packing, tenants: 0 })
    }

    pub fn add(&mut self, route: Route) -> Result<(), TableError> {
        let Route { tenant, cell, tier, hosts, .. } = &route;
        if hosts.is_empty() {
            return Err(ApplyError::NoHost { tenant: tenant.clone() }.into());
        }
        if !self.cells.contains(cell) {
            return Err(ApplyError::UnknownCell { tenant: tenant.clone(), cell: cell.clone() }.into());
        }
        if *tier != TierId::default() && !self.tiers.contains(tier) {
            return Err(ApplyError::UnknownTier { tenant: tenant.clone(), tier: tier.clone() }.into());
        }
        hosts.iter().try_for_each(|host| canonical(host))?;
        self.tenants += 1;
        self.packing.add(route)
    }

    pub fn end(self, version: u64, tenants: u64, held: View) -> Result<Ending, TableError> {
        if (version, tenants) != (self.version, self.tenants) {
            let (has, of) = (self.tenants, self.version);
            let said = format!("{has} routes of version {of} came, {tenants} of version {version} were announced");
            return Err(TableError::Shape(said));
        }
        Ok(Ending { packing: self.packing, held })
    }
}

/// What is left to do when all routes are there. Takes seconds for millions of them: not for a thread that serves.
#[derive(Debug)]
pub struct Ending {
    packing: Packing,
    held: View,
}

impl Ending {
    /// The table, if it may take the place of the one held and is another one.
    pub fn run(self) -> Result<Option<View>, StepError> {
        let view = View::of_packing(self.packing)?;
        let is_same = self.held.may_become(&view).map_err(TableError::from)?;
        Ok((!is_same).then_some(view))
    }
}
