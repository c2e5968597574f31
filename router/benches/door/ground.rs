//! What every proxy of one size finds: the cells, the tenants, and the requests that are sent.

use std::path::Path;

use contracts::routing::{CellEndpoint, Route};
use contracts::tiers::Tier;
use contracts::{CellId, Generation, TenantId, TierId};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::cells::{self, Cell};
use crate::certs::Authority;
use crate::load::Request;
use crate::tokens::token;

/// Tenants that ask, out of all of them: more than fit the fastest caches, few enough for their tokens.
const ASKING: usize = 10_000;
pub const SUFFIX: &str = "acme-data.example";
/// One that has used up what it may use.
pub const SPENT: &str = "spent";

pub struct Ground {
    pub tenants: usize,
    pub cells: [Cell; 2],
    pub requests: Vec<Request>,
    /// Of the tenant that has used up its allowance.
    pub refused: Vec<Request>,
    pub folder: tempfile::TempDir,
}

impl Ground {
    pub async fn lay(tenants: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        authority.write_identity(&folder.path().join("identity"));
        let cells = [cells::open(0, &authority).await, cells::open(1, &authority).await];
        let mut random = StdRng::seed_from_u64(7);
        let asking =
            (0..ASKING.min(tenants)).map(|n| if tenants <= ASKING { n } else { random.random_range(0..tenants) });
        let requests = asking.map(|n| Request::new(&host(n), &token(&tenant(n)), Some(cells[n % 2].name))).collect();
        let refused = vec![Request::new(&format!("{SPENT}.{SUFFIX}"), &token(SPENT), None)];
        Self { tenants, cells, requests, refused, folder }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Every host with the name of its cell.
    pub fn places(&self) -> impl Iterator<Item = (String, &'static str)> {
        (0..self.tenants).map(|n| (host(n), self.cells[n % 2].name))
    }

    pub fn endpoints(&self) -> impl Iterator<Item = CellEndpoint> {
        self.cells.iter().map(|cell| CellEndpoint {
            cell: CellId::new(cell.name).unwrap(),
            http: cell.secure.to_string(),
            flight: cell.secure.to_string(),
            door: None,
        })
    }

    pub fn tiers() -> [Tier; 1] {
        let spent = TierId::new(SPENT).unwrap();
        [Tier { requests_per_second: 1, request_burst: 1, ..Tier::unlimited(spent) }]
    }

    pub fn routes(&self) -> impl Iterator<Item = Route> {
        let route = |tenant: String, host: String, cell: &str, tier| Route {
            tenant: TenantId::new(tenant).unwrap(),
            cell: CellId::new(cell).unwrap(),
            generation: Generation(1),
            hosts: vec![host],
            tier,
        };
        let spent =
            route(SPENT.to_owned(), format!("{SPENT}.{SUFFIX}"), self.cells[0].name, TierId::new(SPENT).unwrap());
        (0..self.tenants)
            .map(move |n| route(tenant(n), host(n), self.cells[n % 2].name, TierId::default()))
            .chain([spent])
    }
}

fn tenant(n: usize) -> String {
    format!("t{n:07}")
}

fn host(n: usize) -> String {
    format!("{}.{SUFFIX}", tenant(n))
}
