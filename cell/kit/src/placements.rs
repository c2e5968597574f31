//! Which tenants live in this cell, and at which generation.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use contracts::placements::Place;
use contracts::routing::{ApplyError, plausible};
use contracts::{CellId, Generation, TenantId};
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};

use crate::fault::{Fault, Kind};

/// The cell is not the place for this request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misdirected {
    #[error("the tenant has moved on to generation {required}")]
    Stale { required: Generation },
    #[error("the tenant does not live in this cell")]
    Elsewhere { required: Generation },
    #[error("the tenant is on its way to another cell")]
    Leaving { required: Generation },
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
            Misdirected::Stale { required }
            | Misdirected::Elsewhere { required }
            | Misdirected::Leaving { required } => Some(*required),
        }
    }
    fn is_leaving(&self) -> bool {
        matches!(self, Misdirected::Leaving { .. })
    }
}

/// What a cell knows of a tenant that lives or lived in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Known {
    Here(Generation),
    /// Here at `generation` for what its last requests left behind; let in again elsewhere, at `next`.
    Leaving {
        generation: Generation,
        next: Generation,
    },
    /// Not here at this generation or an older one.
    Away(Generation),
}

impl Known {
    fn generation(self) -> Generation {
        match self {
            Known::Here(generation) | Known::Away(generation) | Known::Leaving { next: generation, .. } => generation,
        }
    }

    /// What is left when the tenant is nowhere to be found any more.
    fn gone(self) -> Self {
        match self {
            Known::Here(generation) => Known::Away(Generation(generation.0.saturating_add(1))),
            Known::Leaving { next, .. } => Known::Away(next),
            away @ Known::Away(_) => away,
        }
    }
}

/// The cell's view of who lives in it: the fence at its entries. A change costs the same whether ten tenants live
/// here or ten thousand.
#[derive(Debug)]
pub struct Placements {
    cell: CellId,
    known: RwLock<HashMap<TenantId, Known>>,
}

impl Placements {
    pub fn new(cell: CellId) -> Arc<Self> {
        Arc::new(Self { cell, known: RwLock::default() })
    }

    pub fn cell(&self) -> &CellId {
        &self.cell
    }

    /// Starts from what was known before.
    pub fn restore(&self, known: impl IntoIterator<Item = (TenantId, Known)>) {
        *self.known.write() = known.into_iter().collect();
    }

    /// Everything known, for the disk.
    pub fn known(&self) -> BTreeMap<TenantId, Known> {
        self.known.read().iter().map(|(tenant, known)| (tenant.clone(), *known)).collect()
    }

    /// Takes the list of all who live here in the place of what was known. A list that has lost many more of them than
    /// have `departed` meanwhile is refused whole.
    pub fn replace(
        &self,
        listed: HashMap<TenantId, Generation>,
        leaving: &HashMap<TenantId, Generation>,
        departed: u64,
    ) -> Result<(), ApplyError> {
        let mut known = self.known.write();
        let here = known.iter().filter(|(_, known)| !matches!(known, Known::Away(_)));
        let (had, lost) =
            here.fold((0, 0), |(had, lost), (tenant, _)| (had + 1, lost + u64::from(!listed.contains_key(tenant))));
        plausible(had, lost, departed)?;
        for (tenant, generation) in &listed {
            let have = match known.get(tenant) {
                Some(Known::Leaving { generation, .. }) => *generation,
                Some(had) => had.generation(),
                None => continue,
            };
            if have > *generation {
                return Err(ApplyError::Backwards { tenant: tenant.clone(), have, got: *generation });
            }
        }
        for (tenant, known) in known.iter_mut() {
            if !listed.contains_key(tenant) {
                *known = known.gone();
            }
        }
        known.extend(listed.into_iter().map(|(tenant, generation)| match leaving.get(&tenant) {
            Some(next) => (tenant, Known::Leaving { generation, next: *next }),
            None => (tenant, Known::Here(generation)),
        }));
        Ok(())
    }

    /// Takes one change. The higher generation wins: a list may be ahead of the changes that follow it.
    pub fn change(&self, tenant: TenantId, place: Place) {
        let mut known = self.known.write();
        let had = known.get(&tenant).copied();
        let new = match place {
            Place::Here { generation } => Known::Here(generation),
            Place::Elsewhere { generation } => Known::Away(generation),
            Place::Leaving { generation: next } => match had {
                Some(Known::Here(generation)) => Known::Leaving { generation, next },
                Some(leaving @ Known::Leaving { .. }) => leaving,
                Some(Known::Away(_)) | None => Known::Away(next),
            },
            Place::Gone => match had {
                Some(had) => had.gone(),
                None => return,
            },
        };
        if had.is_none_or(|had| had.generation() <= new.generation()) {
            known.insert(tenant, new);
        }
    }

    /// Admits a request that the router minted for `cell` at `generation`.
    ///
    /// The router may be ahead of this cell's feed: a newer generation for this very cell is
    /// believed, since only the router's certificate gets this far. A tenant this cell has never
    /// heard of is believed on the same ground.
    pub fn admit(&self, tenant: &TenantId, cell: &CellId, generation: Generation) -> Result<(), Misdirected> {
        let known = self.known.read().get(tenant).copied();
        if cell != &self.cell {
            let next = Generation(generation.0.saturating_add(1));
            return Err(Misdirected::Elsewhere { required: known.map_or(next, |k| k.generation().max(generation)) });
        }
        match known {
            Some(Known::Here(required)) if required > generation => Err(Misdirected::Stale { required }),
            Some(Known::Away(required)) if required >= generation => Err(Misdirected::Elsewhere { required }),
            Some(Known::Leaving { next: required, .. }) if required >= generation => {
                Err(Misdirected::Leaving { required })
            }
            _ => Ok(()),
        }
    }

    /// The generation a service of this cell acts at for its own work in a tenant.
    pub fn generation(&self, tenant: &TenantId) -> Option<Generation> {
        match self.known.read().get(tenant) {
            Some(Known::Here(generation) | Known::Leaving { generation, .. }) => Some(*generation),
            _ => None,
        }
    }

    /// Whether the tenant has left this cell.
    pub fn has_left(&self, tenant: &TenantId) -> bool {
        matches!(self.known.read().get(tenant), Some(Known::Away(_)))
    }

    /// Whether requests of the tenant are let in, as far as this cell has heard.
    pub fn lets_in(&self, tenant: &TenantId) -> bool {
        matches!(self.known.read().get(tenant), Some(Known::Here(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acme() -> TenantId {
        TenantId::new("acme").unwrap()
    }

    fn tenant(n: u64) -> TenantId {
        TenantId::new(format!("t{n}")).unwrap()
    }

    fn placements(place: Place) -> Arc<Placements> {
        let placements = Placements::new(CellId::new("here").unwrap());
        placements.change(acme(), place);
        placements
    }

    fn replace(placements: &Placements, listed: HashMap<TenantId, Generation>) -> Result<(), ApplyError> {
        placements.replace(listed, &HashMap::new(), 0)
    }

    fn admit(placements: &Placements, cell: &str, generation: u64) -> Result<(), Misdirected> {
        placements.admit(&acme(), &CellId::new(cell).unwrap(), Generation(generation))
    }

    #[test]
    fn only_the_current_or_a_newer_generation_for_this_cell_is_admitted() {
        let here = placements(Place::Here { generation: Generation(5) });
        assert_eq!(admit(&here, "here", 5), Ok(()));
        assert_eq!(admit(&here, "here", 6), Ok(()));
        assert_eq!(admit(&here, "here", 4), Err(Misdirected::Stale { required: Generation(5) }));
        assert!(admit(&here, "there", 5).is_err());
        assert_eq!(here.generation(&acme()), Some(Generation(5)));

        let moved = placements(Place::Elsewhere { generation: Generation(6) });
        assert_eq!(admit(&moved, "here", 5), Err(Misdirected::Elsewhere { required: Generation(6) }));
        assert_eq!(admit(&moved, "here", 6), Err(Misdirected::Elsewhere { required: Generation(6) }));
        assert_eq!(admit(&moved, "here", 7), Ok(()));
        assert_eq!(moved.generation(&acme()), None);
    }

    #[test]
    fn a_tenant_that_is_gone_is_let_in_no_more() {
        let placements = placements(Place::Here { generation: Generation(5) });
        placements.change(acme(), Place::Gone);
        assert_eq!(admit(&placements, "here", 5), Err(Misdirected::Elsewhere { required: Generation(6) }));
        placements.change(TenantId::new("never-here").unwrap(), Place::Gone);
        assert_eq!(placements.known().len(), 1);
    }

    #[test]
    fn a_tenant_that_is_leaving_is_let_in_no_more_and_its_jobs_go_on() {
        let placements = placements(Place::Here { generation: Generation(5) });
        placements.change(acme(), Place::Leaving { generation: Generation(7) });
        assert_eq!(admit(&placements, "here", 5), Err(Misdirected::Leaving { required: Generation(7) }));
        assert_eq!((placements.lets_in(&acme()), placements.generation(&acme())), (false, Some(Generation(5))));
        placements.change(acme(), Place::Here { generation: Generation(5) });
        assert!(!placements.lets_in(&acme()), "what was said before takes nothing back");
        placements.change(acme(), Place::Elsewhere { generation: Generation(7) });
        assert_eq!((placements.lets_in(&acme()), placements.generation(&acme())), (false, None));
        assert!(placements.has_left(&acme()));
        placements.change(acme(), Place::Here { generation: Generation(9) });
        assert!(placements.lets_in(&acme()));
        let one = |generation| HashMap::from([(acme(), Generation(generation))]);
        placements.replace(one(9), &one(11), 0).unwrap();
        assert!(!placements.lets_in(&acme()));
        placements.replace(one(9), &one(11), 0).unwrap();
        assert_eq!(placements.generation(&acme()), Some(Generation(9)));
    }

    #[test]
    fn a_change_that_a_list_was_ahead_of_takes_nothing_back() {
        let placements = placements(Place::Here { generation: Generation(5) });
        placements.change(acme(), Place::Elsewhere { generation: Generation(4) });
        placements.change(acme(), Place::Here { generation: Generation(3) });
        assert_eq!(placements.generation(&acme()), Some(Generation(5)));
    }

    #[test]
    fn a_list_replaces_what_is_known_and_remembers_who_left() {
        let placements = Placements::new(CellId::new("here").unwrap());
        let listed = |from: u64, generation: u64| (from..100).map(|n| (tenant(n), Generation(generation))).collect();
        replace(&placements, listed(0, 7)).unwrap();
        replace(&placements, listed(1, 8)).unwrap();
        assert_eq!(placements.generation(&tenant(0)), None);
        assert_eq!(placements.generation(&tenant(1)), Some(Generation(8)));
        let here = CellId::new("here").unwrap();
        assert!(placements.admit(&tenant(0), &here, Generation(7)).is_err());
        let copy = Placements::new(here);
        copy.restore(placements.known());
        assert_eq!(copy.known(), placements.known());
    }

    #[test]
    fn a_list_that_is_older_or_has_lost_its_tenants_is_refused_whole() {
        let placements = Placements::new(CellId::new("here").unwrap());
        let listed = |to: u64, generation: u64| (0..to).map(|n| (tenant(n), Generation(generation))).collect();
        replace(&placements, listed(100, 7)).unwrap();
        let before = placements.known();
        assert!(matches!(replace(&placements, listed(100, 6)), Err(ApplyError::Backwards { .. })));
        assert!(matches!(
            replace(&placements, listed(80, 7)),
            Err(ApplyError::Implausible { had: 100, lost: 20, removed: 0 })
        ));
        assert!(replace(&placements, HashMap::new()).is_err());
        assert_eq!(placements.known(), before);
    }
}
