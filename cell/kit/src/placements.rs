//! Which tenants live in this cell, and at which generation.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use contracts::routing::Table;
use contracts::{CellId, Generation, TenantId};

use crate::fault::{Fault, Kind};

/// The cell is not the place for this request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misdirected {
    #[error("the tenant has moved on to generation {required}")]
    Stale { required: Generation },
    #[error("the tenant does not live in this cell")]
    Elsewhere { required: Generation },
}

impl Fault for Misdirected {
    fn kind(&self) -> Kind {
        Kind::Misdirected
    }
    fn code(&self) -> &'static str {
        "cell/misdirected"
    }
    fn generation_required(&self) -> Option<Generation> {
        match self {
            Misdirected::Stale { required } | Misdirected::Elsewhere { required } => Some(*required),
        }
    }
}

#[derive(Debug, Clone)]
struct Placement {
    cell: CellId,
    generation: Generation,
}

/// The cell's view of the routing table: the fence at its entries.
#[derive(Debug)]
pub struct Placements {
    cell: CellId,
    known: ArcSwap<HashMap<TenantId, Placement>>,
}

impl Placements {
    pub fn new(cell: CellId) -> Arc<Self> {
        Arc::new(Self { cell, known: ArcSwap::default() })
    }

    /// Replaces the view.
    pub fn set(&self, table: &Table) {
        let placed = table
            .routes
            .values()
            .map(|route| (route.tenant.clone(), Placement { cell: route.cell.clone(), generation: route.generation }));
        self.known.store(Arc::new(placed.collect()));
    }

    /// Admits a request that the router minted for `cell` at `generation`.
    ///
    /// The router may be ahead of this cell's feed: a newer generation for this very cell is
    /// believed, since only the router's certificate gets this far. A tenant this cell has never
    /// heard of is believed on the same ground.
    pub fn admit(&self, tenant: &TenantId, cell: &CellId, generation: Generation) -> Result<(), Misdirected> {
        let known = self.known.load();
        let placement = known.get(tenant);
        if cell != &self.cell {
            let required =
                placement.map_or(Generation(generation.0.saturating_add(1)), |p| p.generation.max(generation));
            return Err(Misdirected::Elsewhere { required });
        }
        match placement {
            Some(p) if p.generation > generation && p.cell == self.cell => {
                Err(Misdirected::Stale { required: p.generation })
            }
            Some(p) if p.cell != self.cell && p.generation >= generation => {
                Err(Misdirected::Elsewhere { required: p.generation })
            }
            _ => Ok(()),
        }
    }

    /// The generation a service of this cell acts at for its own work in a tenant.
    pub fn generation(&self, tenant: &TenantId) -> Option<Generation> {
        self.known.load().get(tenant).filter(|p| p.cell == self.cell).map(|p| p.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contracts::TierId;
    use contracts::routing::{CellEndpoint, Route};

    fn placements(cell: &str, generation: u64) -> Arc<Placements> {
        let here = CellId::new("here").unwrap();
        let placements = Placements::new(here);
        let mut table = Table::default();
        let cell = CellId::new(cell).unwrap();
        let endpoint = CellEndpoint { cell: cell.clone(), http: String::new(), flight: String::new() };
        table.cells.insert(cell.clone(), endpoint);
        let tenant = TenantId::new("acme").unwrap();
        let route = Route {
            tenant: tenant.clone(),
            cell,
            generation: Generation(generation),
            hosts: vec!["acme".into()],
            tier: TierId::default(),
        };
        table.routes.insert(tenant, route);
        placements.set(&table);
        placements
    }

    fn admit(placements: &Placements, cell: &str, generation: u64) -> Result<(), Misdirected> {
        placements.admit(&TenantId::new("acme").unwrap(), &CellId::new(cell).unwrap(), Generation(generation))
    }

    #[test]
    fn only_the_current_or_a_newer_generation_for_this_cell_is_admitted() {
        let here = placements("here", 5);
        assert_eq!(admit(&here, "here", 5), Ok(()));
        assert_eq!(admit(&here, "here", 6), Ok(()));
        assert_eq!(admit(&here, "here", 4), Err(Misdirected::Stale { required: Generation(5) }));
        assert!(admit(&here, "there", 5).is_err());

        let moved = placements("there", 6);
        assert_eq!(admit(&moved, "here", 5), Err(Misdirected::Elsewhere { required: Generation(6) }));
        assert_eq!(admit(&moved, "here", 6), Err(Misdirected::Elsewhere { required: Generation(6) }));
        assert_eq!(admit(&moved, "here", 7), Ok(()));
    }
}
