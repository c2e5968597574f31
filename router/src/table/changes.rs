//! How a view moves on: one change of the log, or another table in its place.

use std::sync::Arc;

use contracts::routing::{ApplyError, Change, Route, check_tier, plausible};
use contracts::{CellId, TierId};

use super::{Cell, TableError, Terms, View, canonical};

impl View {
    /// Applies the change that leads to `version`, or leaves the table as it was.
    pub fn apply(&mut self, version: u64, change: &Change) -> Result<(), TableError> {
        if version != self.version + 1 {
            return Err(ApplyError::Gap { have: self.version, got: version }.into());
        }
        match change {
            Change::CellUpserted { endpoint } => {
                let tenants = self.cells.get(&endpoint.cell).map_or(0, |cell| cell.tenants);
                self.cells.insert(endpoint.cell.clone(), Cell::new(endpoint.clone(), tenants)?);
            }
            Change::CellRemoved { cell } => self.remove_cell(cell)?,
            Change::TierUpserted { tier } => {
                check_tier(tier)?;
                self.tiers.insert(tier.tier.clone(), Terms::of(tier));
            }
            Change::TierRemoved { tier } => self.remove_tier(tier)?,
            Change::GroupsChanged { groups } => self.groups = groups.clone(),
            Change::TenantPlaced { route } => self.place(route)?,
            Change::TenantRemoved { tenant } => {
                if let Some(old) = self.route(tenant) {
                    self.forget(&old);
                    self.routes.insert(tenant.clone(), None);
                }
                self.leaving.remove(tenant);
                self.removed += 1;
            }
            Change::TenantLeaving { tenant, generation } => {
                self.leaving.insert(tenant.clone(), *generation);
            }
        }
        self.version = version;
        Ok(())
    }

    fn remove_cell(&mut self, cell: &CellId) -> Result<(), TableError> {
        if self.cells.get(cell).is_some_and(|known| known.tenants > 0)
            && let Some(route) = self.routes().find(|route| &route.cell == cell)
        {
            return Err(ApplyError::CellInUse { cell: cell.clone(), tenant: route.tenant }.into());
        }
        self.cells.remove(cell);
        Ok(())
    }

    fn remove_tier(&mut self, tier: &TierId) -> Result<(), TableError> {
        if *tier != TierId::default()
            && self.tiers.contains_key(tier)
            && let Some(route) = self.routes().find(|route| &route.tier == tier)
        {
            return Err(ApplyError::TierInUse { tier: tier.clone(), tenant: route.tenant }.into());
        }
        self.tiers.remove(tier);
        Ok(())
    }

    fn place(&mut self, route: &Route) -> Result<(), TableError> {
        let (tenant, cell) = (route.tenant.clone(), route.cell.clone());
        if route.hosts.is_empty() {
            return Err(ApplyError::NoHost { tenant }.into());
        }
        if !self.cells.contains_key(&route.cell) {
            return Err(ApplyError::UnknownCell { tenant, cell }.into());
        }
        if route.tier != TierId::default() && !self.tiers.contains_key(&route.tier) {
            return Err(ApplyError::UnknownTier { tenant, tier: route.tier.clone() }.into());
        }
        let old = self.route(&route.tenant);
        if let Some(old) = &old
            && old.generation > route.generation
        {
            return Err(ApplyError::Backwards { tenant, have: old.generation, got: route.generation }.into());
        }
        for host in &route.hosts {
            canonical(host)?;
            if self.holder(host).is_some_and(|holder| holder.tenant != route.tenant.as_str()) {
                return Err(ApplyError::HostTaken { host: host.clone() }.into());
            }
        }
        if let Some(old) = old {
            self.forget(&old);
        }
        let shared = Arc::new(route.clone());
        for host in &route.hosts {
            self.hosts.insert(host.clone(), Some(Arc::clone(&shared)));
        }
        if self.leaving.get(&tenant).is_some_and(|entered_at| *entered_at <= route.generation) {
            self.leaving.remove(&tenant);
        }
        self.routes.insert(tenant, Some(shared));
        self.tenants += 1;
        if let Some(cell) = self.cells.get_mut(&cell) {
            cell.tenants += 1;
        }
        Ok(())
    }

    /// Takes a route out of the counts and out of the index of hosts.
    fn forget(&mut self, old: &Route) {
        for host in &old.hosts {
            self.hosts.insert(host.clone(), None);
        }
        self.tenants = self.tenants.saturating_sub(1);
        if let Some(cell) = self.cells.get_mut(&old.cell) {
            cell.tenants = cell.tenants.saturating_sub(1);
        }
    }

    /// Refuses a table that may not take this one's place; `true` for one that says the same.
    pub fn may_become(&self, offered: &View) -> Result<bool, ApplyError> {
        if offered.version < self.version {
            return Err(ApplyError::Older { have: self.version, got: offered.version });
        }
        let is_same = self.is(offered);
        if offered.version == self.version && self.version > 0 && !is_same {
            return Err(ApplyError::Differs(self.version));
        }
        let mut lost = 0;
        for route in self.routes() {
            match offered.by_tenant(&route.tenant) {
                None => lost += 1,
                Some(new) if new.generation < route.generation => {
                    let Route { tenant, generation: have, .. } = route;
                    return Err(ApplyError::Backwards { tenant, have, got: new.generation });
                }
                Some(_) => {}
            }
        }
        plausible(self.tenants, lost, offered.removed.saturating_sub(self.removed))?;
        Ok(is_same)
    }

    /// Whether the other table says the same.
    pub fn is(&self, other: &View) -> bool {
        self.version == other.version
            && self.cells().eq(other.cells())
            && self.tiers().eq(other.tiers())
            && self.groups == other.groups
            && self.tenants == other.tenants
            && self.routes().all(|route| other.route(&route.tenant).as_ref() == Some(&route))
    }
}
