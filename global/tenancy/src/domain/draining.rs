//! How a cell is emptied. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::placement::{Candidate, CellKind, PlacementRefused, Wish, choose};

/// What becomes of what the tenants have in the cell (docs/adr/0018-a-cell-is-emptied.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// They take it along.
    Move,
    /// The cell is lost: only their routes change.
    Route,
}

impl Way {
    pub fn name(self) -> &'static str {
        match self {
            Way::Move => "move",
            Way::Route => "route",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Way::Move, Way::Route].into_iter().find(|way| way.name() == text)
    }
}

/// Tenants of one step: a thousandth of what there was, at least one.
pub fn step_of(tenants: i64) -> i64 {
    (tenants.max(1) + 999) / 1000
}

/// Tenants that ask for the same.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Group {
    pub organisation: String,
    pub region: Option<String>,
    pub apart: Option<String>,
    pub tenants: i64,
}

/// Where tenants go, one after the other: each counts when the next is placed.
#[derive(Debug)]
pub struct Destinations<'a> {
    cells: Vec<Candidate>,
    named: Option<&'a str>,
}

impl<'a> Destinations<'a> {
    /// `from` is the cell that is being emptied: it is none of them.
    pub fn new(mut cells: Vec<Candidate>, from: &str, named: Option<&'a str>) -> Self {
        cells.retain(|cell| cell.id != from);
        Self { cells, named }
    }

    /// The cell for one more tenant.
    pub fn next(
        &mut self,
        organisation: &str,
        region: Option<&str>,
        apart: Option<&str>,
    ) -> Result<String, PlacementRefused> {
        let wish = Wish { organisation, region, apart, named: self.named, by_platform: true };
        let chosen = choose(&self.cells, &wish)?.id.clone();
        if let Some(cell) = self.cells.iter_mut().find(|cell| cell.id == chosen) {
            cell.tenants += 1;
            cell.apart.extend(apart.map(|word| (organisation.to_owned(), word.to_owned())));
            if cell.kind == CellKind::Dedicated {
                cell.organisation = Some(organisation.to_owned());
            }
        }
        Ok(chosen)
    }

    /// How many tenants each cell gets.
    pub fn share_out(mut self, groups: &[Group]) -> Result<BTreeMap<String, i64>, PlacementRefused> {
        let mut shares = BTreeMap::new();
        for group in groups {
            for _ in 0..group.tenants {
                let Group { organisation, region, apart, .. } = group;
                *shares.entry(self.next(organisation, region.as_deref(), apart.as_deref())?).or_default() += 1;
            }
        }
        Ok(shares)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::domain::placement::CellState;

    fn cell(id: &str, kind: CellKind, tenants: i64) -> Candidate {
        let (state, region, apart) = (CellState::Serving, None, BTreeSet::new());
        Candidate { id: id.into(), kind, state, organisation: None, tenants, capacity: 0, region, apart }
    }

    fn of(organisation: &str, tenants: i64) -> Group {
        Group { organisation: organisation.into(), region: None, apart: None, tenants }
    }

    #[test]
    fn a_step_is_a_thousandth_and_never_nothing() {
        assert_eq!([0, 1, 999, 1000, 1001, 10_000].map(step_of), [1, 1, 1, 1, 2, 10]);
    }

    #[test]
    fn tenants_are_shared_out_as_they_come() {
        let cells =
            vec![cell("a", CellKind::Shared, 10), cell("b", CellKind::Shared, 0), cell("lost", CellKind::Shared, 9)];
        let shares = Destinations::new(cells, "lost", None).share_out(&[of("acme", 14), of("globex", 6)]);
        assert_eq!(shares, Ok(BTreeMap::from([("a".to_owned(), 5), ("b".to_owned(), 15)])));
    }

    #[test]
    fn tenants_that_are_apart_stay_so() {
        let cells =
            || vec![cell("a", CellKind::Shared, 10), cell("b", CellKind::Shared, 0), cell("lost", CellKind::Shared, 9)];
        let out = |tenants| {
            let replicas = Group { apart: Some("replica".into()), ..of("acme", tenants) };
            Destinations::new(cells(), "lost", None).share_out(&[replicas])
        };
        assert_eq!(out(2), Ok(BTreeMap::from([("a".to_owned(), 1), ("b".to_owned(), 1)])));
        assert_eq!(out(3), Err(PlacementRefused::NoSharedCell));
    }

    #[test]
    fn a_dedicated_cell_takes_the_first_tenants_organisation_only() {
        let cells = || vec![cell("own", CellKind::Dedicated, 0), cell("lost", CellKind::Shared, 2)];
        let to = |groups: &[Group]| Destinations::new(cells(), "lost", Some("own")).share_out(groups);
        assert_eq!(to(&[of("acme", 2)]), Ok(BTreeMap::from([("own".to_owned(), 2)])));
        assert_eq!(to(&[of("acme", 1), of("globex", 1)]), Err(PlacementRefused::Foreign));
    }
}
