//! Which cell a tenant is placed in.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::host;

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
    /// Registered, and takes no tenants before it has reported that its brokers are as the contracts say.
    Requested,
    /// Takes tenants.
    #[serde(alias = "active")]
    Serving,
    /// Serves its tenants, takes no new ones.
    Draining,
    /// Was emptied, takes no new ones.
    Drained,
    /// Is there no more. Its name is not given again.
    Retired,
}

const STATES: [CellState; 5] =
    [CellState::Requested, CellState::Serving, CellState::Draining, CellState::Drained, CellState::Retired];

impl CellState {
    pub fn name(self) -> &'static str {
        match self {
            CellState::Requested => "requested",
            CellState::Serving => "serving",
            CellState::Draining => "draining",
            CellState::Drained => "drained",
            CellState::Retired => "retired",
        }
    }

    /// Reads `active` too, which is how serving was stored before.
    pub fn parse(text: &str) -> Option<Self> {
        STATES.into_iter().find(|s| s.name() == text).or_else(|| (text == "active").then_some(CellState::Serving))
    }

    /// Whether an operator may bring a cell with so many tenants from this state to another.
    pub fn may_become(self, next: CellState, tenants: i64) -> bool {
        match (self, next) {
            (CellState::Retired, _) => next == CellState::Retired,
            (_, CellState::Retired) => tenants == 0,
            (_, CellState::Requested) => self == CellState::Requested,
            _ => true,
        }
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
    /// Tenants it takes at most; 0 = no limit.
    pub capacity: i64,
    pub region: Option<String>,
    /// Of whom it has a tenant, or is getting one: organisations and what their tenants are apart by.
    pub apart: BTreeSet<(String, String)>,
}

/// What a tenant asks of its cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish<'a> {
    pub organisation: &'a str,
    /// Where it must be; anywhere if absent.
    pub region: Option<&'a str>,
    /// Its cell has no other tenant of the organisation with the same word.
    pub apart: Option<&'a str>,
    pub named: Option<&'a str>,
    /// Only the platform's administrators name a cell that is not the organisation's own.
    pub by_platform: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlacementRefused {
    UnknownCell,
    NotServing,
    Full,
    /// A tenant is there from which this one must be apart.
    Apart,
    /// The cell is not where the tenant must be.
    Region,
    /// The dedicated cell is another organisation's.
    Foreign,
    NoSharedCell,
    NotYours,
}

impl Candidate {
    fn is_own(&self, wish: &Wish<'_>) -> bool {
        self.kind == CellKind::Dedicated && self.organisation.as_deref() == Some(wish.organisation)
    }

    /// Why it takes no tenant with this wish.
    fn refuses(&self, wish: &Wish<'_>) -> Option<PlacementRefused> {
        let is_free = self.organisation.as_deref().is_none_or(|owner| owner == wish.organisation);
        if self.kind == CellKind::Dedicated && !is_free {
            return Some(PlacementRefused::Foreign);
        }
        if self.state != CellState::Serving {
            return Some(PlacementRefused::NotServing);
        }
        if wish.region.is_some_and(|region| self.region.as_deref() != Some(region)) {
            return Some(PlacementRefused::Region);
        }
        let is_near = |word: &str| self.apart.contains(&(wish.organisation.to_owned(), word.to_owned()));
        if wish.apart.is_some_and(is_near) {
            return Some(PlacementRefused::Apart);
        }
        (self.capacity > 0 && self.tenants >= self.capacity).then_some(PlacementRefused::Full)
    }
}

/// The cell for a new tenant. Without a name: its organisation's own dedicated cell if it has one with room, else the
/// shared cell with the fewest tenants, by name among equals.
pub fn choose<'a>(cells: &'a [Candidate], wish: &Wish<'_>) -> Result<&'a Candidate, PlacementRefused> {
    let Some(name) = wish.named else {
        let open = || cells.iter().filter(|cell| cell.refuses(wish).is_none());
        let own = open().filter(|cell| cell.is_own(wish)).min_by_key(|cell| (cell.tenants, &cell.id));
        let shared = open().filter(|cell| cell.kind == CellKind::Shared).min_by_key(|cell| (cell.tenants, &cell.id));
        return own.or(shared).ok_or(PlacementRefused::NoSharedCell);
    };
    let cell = cells.iter().find(|cell| cell.id == name).ok_or(PlacementRefused::UnknownCell)?;
    if !wish.by_platform && !cell.is_own(wish) {
        return Err(PlacementRefused::NotYours);
    }
    cell.refuses(wish).map_or(Ok(cell), Err)
}

/// `ip:port`, or `name:port` with a lower-case DNS name.
pub fn is_endpoint(text: &str) -> bool {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return address.port() != 0 && !address.ip().is_unspecified();
    }
    let Some((name, port)) = text.rsplit_once(':') else { return false };
    let is_name = !name.starts_with('*') && host::normalise(name).as_deref() == Some(name);
    is_name && port.parse::<u16>().is_ok_and(|port| port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(id: &str, kind: CellKind, organisation: Option<&str>, tenants: i64) -> Candidate {
        Candidate {
            id: id.into(),
            kind,
            state: CellState::Serving,
            organisation: organisation.map(str::to_owned),
            tenants,
            capacity: 0,
            region: None,
            apart: BTreeSet::new(),
        }
    }

    fn wish<'a>(organisation: &'a str, named: Option<&'a str>, by_platform: bool) -> Wish<'a> {
        Wish { organisation, region: None, apart: None, named, by_platform }
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
        choose(&site(), &wish(organisation, named, by_platform)).map(|c| c.id.clone())
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
        assert_eq!(choose(&draining, &wish("acme", Some("shared-2"), true)), Err(PlacementRefused::NotServing));
        assert_eq!(choose(&draining, &wish("acme", None, false)).map(|c| c.id.as_str()), Ok("shared-1"));
        assert_eq!(choose(&[], &wish("acme", None, true)), Err(PlacementRefused::NoSharedCell));
    }

    #[test]
    fn a_full_cell_takes_nobody_and_a_region_is_kept() {
        let mut cells = site();
        cells[1].capacity = 2;
        cells[0].region = Some("north".into());
        let name = |wish: &Wish<'_>| choose(&cells, wish).map(|cell| cell.id.as_str());
        let anywhere = wish("acme", None, true);
        assert_eq!(name(&anywhere), Ok("shared-1"));
        assert_eq!(name(&Wish { named: Some("shared-2"), ..anywhere }), Err(PlacementRefused::Full));
        let north = Wish { region: Some("north"), ..anywhere };
        assert_eq!(name(&north), Ok("shared-1"));
        assert_eq!(name(&Wish { named: Some("dedicated-2"), ..north }), Err(PlacementRefused::Region));
        assert_eq!(name(&Wish { region: Some("south"), ..anywhere }), Err(PlacementRefused::NoSharedCell));
        cells[2].capacity = 9;
        // Its own cell is full: it is a tenant like others.
        assert_eq!(choose(&cells, &wish("globex", None, false)).map(|cell| cell.id.as_str()), Ok("shared-1"));
    }

    #[test]
    fn tenants_that_are_apart_share_no_cell() {
        let mut cells = site();
        cells[1].apart.insert(("acme".into(), "replica".into()));
        let name = |wish: &Wish<'_>| choose(&cells, wish).map(|cell| cell.id.as_str());
        let replica = Wish { apart: Some("replica"), ..wish("acme", None, true) };
        assert_eq!(name(&replica), Ok("shared-1"));
        assert_eq!(name(&Wish { apart: Some("other"), ..replica }), Ok("shared-2"));
        assert_eq!(name(&Wish { organisation: "globex", named: Some("shared-2"), ..replica }), Ok("shared-2"));
        assert_eq!(name(&Wish { named: Some("shared-2"), ..replica }), Err(PlacementRefused::Apart));
        cells[0].apart.insert(("acme".into(), "replica".into()));
        assert_eq!(choose(&cells, &replica), Err(PlacementRefused::NoSharedCell));
    }

    #[test]
    fn a_cell_is_requested_once_and_retired_for_good() {
        use CellState::{Drained, Draining, Requested, Retired, Serving};
        for (from, to, tenants, may) in [
            (Requested, Serving, 0, true),
            (Serving, Requested, 0, false),
            (Draining, Serving, 9, true),
            (Drained, Retired, 0, true),
            (Serving, Retired, 1, false),
            (Retired, Serving, 0, false),
            (Retired, Retired, 0, true),
        ] {
            assert_eq!(from.may_become(to, tenants), may, "{from:?} to {to:?} with {tenants}");
        }
        assert!(STATES.into_iter().all(|state| CellState::parse(state.name()) == Some(state)));
        assert_eq!(CellState::parse("active"), Some(Serving));
    }

    #[test]
    fn an_endpoint_is_an_address_or_a_name_and_a_port() {
        assert!(is_endpoint("127.0.2.1:8080") && is_endpoint("[::1]:8080"));
        assert!(is_endpoint("gateway.shared-1.svc.cluster.local:8080"));
        for bad in [
            "localhost:8080",
            "Gate.way:80",
            "*.gate.way:80",
            "gate.way:0",
            "gate.way",
            "gate.way:65536",
            "127.0.2.1",
            "127.0.2.1:0",
            "0.0.0.0:80",
            "",
        ] {
            assert!(!is_endpoint(bad), "{bad}");
        }
    }
}
