//! Which cell a tenant is placed in.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CellKind {
    /// Takes tenants of every organisation.
    Shared,
    /// Takes tenants of one organisation.
    Dedicated,
}

impl CellKind {
    pub fn name(self) -> &'static str {
        match self {
            CellKind::Shared => "shared",
            CellKind::Dedicated => "dedicated",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [CellKind::Shared, CellKind::Dedicated].into_iter().find(|k| k.name() == text)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CellState {
    Active,
    /// Serves its tenants, takes no new ones.
    Draining,
    /// Was emptied, takes no new ones.
    Drained,
}

const STATES: [CellState; 3] = [CellState::Active, CellState::Draining, CellState::Drained];

impl CellState {
    pub fn name(self) -> &'static str {
        match self {
            CellState::Active => "active",
            CellState::Draining => "draining",
            CellState::Drained => "drained",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        STATES.into_iter().find(|s| s.name() == text)
    }
}

/// What the policy needs to know of a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub id: String,
    pub kind: CellKind,
    pub state: CellState,
    pub organisation: Option<String>,
    pub tenants: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlacementRefused {
    UnknownCell,
    Draining,
    /// The dedicated cell is another organisation's.
    Foreign,
    NoSharedCell,
    /// Only the platform's administrators name a cell that is not the organisation's own.
    NotYours,
}

/// The cell for a new tenant of `organisation`. Without a name: its own dedicated cell if it has
/// one, else the shared cell with the fewest tenants, by name among equals.
pub fn choose<'a>(
    cells: &'a [Candidate],
    organisation: &str,
    named: Option<&str>,
    by_platform: bool,
) -> Result<&'a Candidate, PlacementRefused> {
    let own = |c: &&Candidate| c.kind == CellKind::Dedicated && c.organisation.as_deref() == Some(organisation);
    let open = |c: &&Candidate| c.state == CellState::Active;
    let Some(name) = named else {
        let dedicated = cells.iter().filter(own).filter(open).min_by_key(|c| (c.tenants, &c.id));
        let shared =
            || cells.iter().filter(|c| c.kind == CellKind::Shared).filter(open).min_by_key(|c| (c.tenants, &c.id));
        return dedicated.or_else(shared).ok_or(PlacementRefused::NoSharedCell);
    };
    let cell = cells.iter().find(|c| c.id == name).ok_or(PlacementRefused::UnknownCell)?;
    let free = cell.organisation.as_deref().is_none_or(|owner| owner == organisation);
    if !by_platform && !own(&cell) {
        return Err(PlacementRefused::NotYours);
    }
    if cell.kind == CellKind::Dedicated && !free {
        return Err(PlacementRefused::Foreign);
    }
    if cell.state == CellState::Active { Ok(cell) } else { Err(PlacementRefused::Draining) }
}

/// `ip:port`; names are refused, because a router never resolves one for a cell.
pub fn is_endpoint(text: &str) -> bool {
    text.parse::<SocketAddr>().is_ok_and(|a| a.port() != 0 && !a.ip().is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(id: &str, kind: CellKind, organisation: Option<&str>, tenants: i64) -> Candidate {
        Candidate {
            id: id.into(),
            kind,
            state: CellState::Active,
            organisation: organisation.map(str::to_owned),
            tenants,
        }
    }

    fn site() -> Vec<Candidate> {
        vec![
            cell("shared-1", CellKind::Shared, None, 3),
            cell("shared-2", CellKind::Shared, None, 2),
            cell("dedicated-1", CellKind::Dedicated, Some("globex"), 9),
            cell("dedicated-2", CellKind::Dedicated, None, 0),
        ]
    }

    fn chosen(organisation: &str, named: Option<&str>, by_platform: bool) -> Result<String, PlacementRefused> {
        choose(&site(), organisation, named, by_platform).map(|c| c.id.clone())
    }

    #[test]
    fn a_tenant_goes_to_its_own_cell_or_to_the_emptiest_shared_one() {
        assert_eq!(chosen("acme", None, false), Ok("shared-2".into()));
        assert_eq!(chosen("globex", None, false), Ok("dedicated-1".into()));
        assert_eq!(chosen("acme", Some("shared-1"), true), Ok("shared-1".into()));
        assert_eq!(chosen("acme", Some("dedicated-2"), true), Ok("dedicated-2".into()));
    }

    #[test]
    fn a_dedicated_cell_takes_one_organisation_and_a_name_needs_the_right_to_it() {
        assert_eq!(chosen("acme", Some("dedicated-1"), true), Err(PlacementRefused::Foreign));
        assert_eq!(chosen("acme", Some("dedicated-2"), false), Err(PlacementRefused::NotYours));
        assert_eq!(chosen("acme", Some("nowhere"), true), Err(PlacementRefused::UnknownCell));
        assert_eq!(chosen("globex", Some("dedicated-1"), false), Ok("dedicated-1".into()));
        let mut draining = site();
        draining[1].state = CellState::Draining;
        assert_eq!(choose(&draining, "acme", Some("shared-2"), true), Err(PlacementRefused::Draining));
        assert_eq!(choose(&draining, "acme", None, false).map(|c| c.id.as_str()), Ok("shared-1"));
        assert_eq!(choose(&[], "acme", None, true), Err(PlacementRefused::NoSharedCell));
    }

    #[test]
    fn an_endpoint_is_an_address_and_a_port() {
        assert!(is_endpoint("127.0.2.1:8080") && is_endpoint("[::1]:8080"));
        for bad in ["localhost:8080", "127.0.2.1", "127.0.2.1:0", "0.0.0.0:80", ""] {
            assert!(!is_endpoint(bad), "{bad}");
        }
    }
}
