//! The routing table as requests read it: a packed table, and what has changed since it was packed.
//!
//! Invariants: a view never changes, so that reading takes no lock; its copy costs nothing; a change costs the
//! same in a table of ten tenants and of ten million.

mod changes;
mod follower;
mod gate;
mod hash;
mod incoming;
mod pack;
mod packed;
mod sealing;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use contracts::groups::Groups;
use contracts::routing::{ApplyError, CellEndpoint, Route};
use contracts::services::{GATEWAY, ROUTER, SQL_BI_GATEWAY};
use contracts::tiers::Tier;
use contracts::{CellId, Generation, TenantId, TierId};

use crate::fairness::Allowance;
pub use follower::{Follower, StepError};
pub use gate::{At, Entrance, Gate};
pub use incoming::Ending;
use pack::Packing;
use packed::{Housing, Packed, Record};
pub use sealing::{Seal, Sealing, Taken};

/// Why a table was refused; the last good one stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    #[error(transparent)]
    Rule(#[from] ApplyError),
    #[error("cell {0} has an address that is neither ip:port nor name:port")]
    Address(CellId),
    #[error("{0:?} is not a host in canonical form")]
    Host(String),
    #[error("it is not a table: {0}")]
    Shape(String),
    #[error("there is no memory for it: {0}")]
    Memory(String),
}

/// The surface of a cell a request goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surface {
    Http,
    Flight,
}

/// Where a tenant lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seat<'a> {
    pub tenant: &'a str,
    pub cell: &'a CellId,
    pub generation: Generation,
    pub tier: &'a TierId,
}

#[derive(Debug, Clone)]
struct Cell {
    endpoint: CellEndpoint,
    http: Arc<Gate>,
    flight: Arc<Gate>,
    /// Where TLS of its tenants' own domains ends, if not at the router.
    door: Option<Arc<Gate>>,
    tenants: u64,
}

/// A tier, read once for all its requests.
#[derive(Debug, Clone)]
struct Terms {
    tier: Tier,
    allowance: Allowance,
    header: Arc<str>,
}

impl Terms {
    fn of(tier: &Tier) -> Self {
        let header = tier.requests().to_string().into();
        Self { tier: tier.clone(), allowance: Allowance::of(tier), header }
    }
}

/// A table at one version.
#[derive(Debug, Clone, Default)]
pub struct View {
    version: u64,
    packed: Arc<Packed>,
    cells: imbl::OrdMap<CellId, Cell>,
    tiers: imbl::OrdMap<TierId, Terms>,
    /// Tenants that are not as they were packed; `None` where one is gone.
    routes: imbl::HashMap<TenantId, Option<Arc<Route>>>,
    /// Every host that such a tenant had or has.
    hosts: imbl::HashMap<String, Option<Arc<Route>>>,
    /// Tenants between two cells, and the generation at which they are entered again. Not packed: a router that begins
    /// anew hears of it from the cell.
    leaving: imbl::HashMap<TenantId, Generation>,
    tenants: u64,
    /// Tenants that were removed so far, also of those that this table never held.
    removed: u64,
    groups: Groups,
}

impl Cell {
    fn new(endpoint: CellEndpoint, tenants: u64) -> Result<Self, TableError> {
        let gate = |at: &str, service: &str| {
            let at = At::parse(at).ok_or_else(|| TableError::Address(endpoint.cell.clone()))?;
            Ok::<_, TableError>(Arc::new(Gate::new(at, format!("{service}.{}.cytoplane.internal", endpoint.cell))))
        };
        let (http, flight) = (gate(&endpoint.http, GATEWAY)?, gate(&endpoint.flight, SQL_BI_GATEWAY)?);
        let door = endpoint.door.as_deref().map(|at| gate(at, ROUTER)).transpose()?;
        Ok(Self { endpoint, http, flight, door, tenants })
    }
}

impl View {
    /// Packs routes whose tenants and hosts are each there once, and canonical.
    pub fn of(
        version: u64,
        cells: impl Iterator<Item = CellEndpoint>,
        tiers: impl Iterator<Item = Tier>,
        routes: impl Iterator<Item = Route>,
    ) -> Result<Self, TableError> {
        Self::pack(Packing::new(version, Default::default(), cells, tiers), routes)
    }

    fn pack(mut packing: Packing, routes: impl Iterator<Item = Route>) -> Result<Self, TableError> {
        for route in routes {
            packing.add(route)?;
        }
        Self::of_packing(packing)
    }

    fn of_packing(packing: Packing) -> Result<Self, TableError> {
        let packed = packing.finish()?;
        // Once, here: from now on the seal vouches for it.
        packed.check()?;
        Self::over(packed)
    }

    /// A view out of a snapshot file's payload.
    pub fn read(version: u64, payload: Bytes) -> Result<Self, TableError> {
        let packed = Packed::open(payload)?;
        if packed.version() != version {
            return Err(TableError::Shape(format!("version {} in a file of version {version}", packed.version())));
        }
        Self::over(packed)
    }

    fn over(packed: Packed) -> Result<Self, TableError> {
        let mut cells = imbl::OrdMap::new();
        for Housing { endpoint, tenants, .. } in packed.cells() {
            let before = cells.get(&endpoint.cell).map_or(0, |cell: &Cell| cell.tenants);
            cells.insert(endpoint.cell.clone(), Cell::new(endpoint.clone(), before.saturating_add(*tenants))?);
        }
        let tiers = packed.tiers().iter().map(|tier| (tier.tier.clone(), Terms::of(tier))).collect();
        let (version, tenants, removed, groups) =
            (packed.version(), packed.tenants(), packed.removed(), packed.groups().clone());
        Ok(Self { version, packed: Arc::new(packed), cells, tiers, tenants, removed, groups, ..Self::default() })
    }

    /// The same table with nothing changed since it was packed: its bytes are what a snapshot holds.
    pub fn repacked(&self) -> Result<Self, TableError> {
        // Every change has its version: a table that came whole is packed already.
        if self.version == self.packed.version() {
            return Ok(self.clone());
        }
        let beside = (self.removed, self.groups.clone());
        let packing = Packing::new(self.version, beside, self.cells().cloned(), self.tiers().cloned());
        let packed = Self::pack(packing, self.routes())?;
        Ok(Self { leaving: self.leaving.clone(), ..packed })
    }

    /// What lies on disk for the table as it was packed.
    pub fn bytes(&self) -> &Bytes {
        self.packed.bytes()
    }

    pub fn version(&self) -> u64 {
        self.version
    }

    pub fn tenants(&self) -> u64 {
        self.tenants
    }

    pub fn cells(&self) -> impl Iterator<Item = &CellEndpoint> {
        self.cells.values().map(|cell| &cell.endpoint)
    }

    pub fn tiers(&self) -> impl Iterator<Item = &Tier> {
        self.tiers.values().map(|terms| &terms.tier)
    }

    /// The groups of routers, and so who serves whom.
    pub fn groups(&self) -> &Groups {
        &self.groups
    }

    /// What a tenant of the tier may use, and as its cell is told; `None` for a tier that the table does not know.
    pub fn allowance(&self, tier: &TierId) -> Option<(Allowance, Arc<str>)> {
        self.tiers.get(tier).map(|terms| (terms.allowance, Arc::clone(&terms.header)))
    }

    /// Whom a host leads to: its holder, or else the holder of all names beside it (`*.` in its first label's place).
    pub fn by_host(&self, host: &str) -> Option<Seat<'_>> {
        self.holder(host).or_else(|| {
            let (_, parent) = host.split_once('.')?;
            self.holder(&format!("{WILDCARD}{parent}"))
        })
    }

    /// Who holds exactly this name.
    fn holder(&self, host: &str) -> Option<Seat<'_>> {
        match lately(&self.hosts, host) {
            Some(changed) => changed.as_deref().map(Seat::of),
            None => self.packed.by_host(host).map(Seat::packed),
        }
    }

    pub fn by_tenant(&self, tenant: &TenantId) -> Option<Seat<'_>> {
        match lately(&self.routes, tenant) {
            Some(changed) => changed.as_deref().map(Seat::of),
            None => self.packed.by_tenant(tenant.as_str()).map(Seat::packed),
        }
    }

    /// The generation at which a tenant that has left its cell is entered again.
    pub fn leaving(&self, tenant: &TenantId) -> Option<Generation> {
        lately(&self.leaving, tenant).copied()
    }

    /// All that is known of a tenant.
    pub fn route(&self, tenant: &TenantId) -> Option<Route> {
        match self.routes.get(tenant) {
            Some(changed) => changed.as_deref().cloned(),
            None => self.packed.by_tenant(tenant.as_str()).and_then(|record| record.route()),
        }
    }

    pub fn gate(&self, cell: &CellId, surface: Surface) -> Option<&Arc<Gate>> {
        self.cells.get(cell).map(|cell| match surface {
            Surface::Http => &cell.http,
            Surface::Flight => &cell.flight,
        })
    }

    /// Whether any cell has a door of its own.
    pub fn has_doors(&self) -> bool {
        self.cells.values().any(|cell| cell.door.is_some())
    }

    /// Where TLS of a cell's tenants' own domains ends, if not at the router.
    pub fn door(&self, cell: &CellId) -> Option<&Gate> {
        self.cells.get(cell)?.door.as_deref()
    }

    /// How many requests each cell was brought since its address was heard of.
    pub fn passed(&self) -> impl Iterator<Item = (&CellId, u64)> {
        self.cells.iter().map(|(id, cell)| (id, cell.http.passed() + cell.flight.passed()))
    }

    /// Names at which cells listen.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        let gates = self.cells.values().flat_map(|cell| [&cell.http, &cell.flight].into_iter().chain(&cell.door));
        gates.filter_map(|gate| match &gate.at {
            At::Name(name, _) => Some(name),
            At::Address(_) => None,
        })
    }

    /// Every route, in no order.
    pub fn routes(&self) -> impl Iterator<Item = Route> {
        let packed = self.packed.records().filter_map(|record| record.route());
        let kept = packed.filter(|route| !self.routes.contains_key(&route.tenant));
        kept.chain(self.routes.values().filter_map(|route| route.as_deref().cloned()))
    }
}

/// What has changed of a name since the table was packed. Most often nothing has at all, and then the name needs no hash.
fn lately<'a, K, Q, V>(changes: &'a imbl::HashMap<K, V>, name: &Q) -> Option<&'a V>
where
    K: std::borrow::Borrow<Q> + std::hash::Hash + Eq,
    Q: std::hash::Hash + Eq + ?Sized,
{
    if changes.is_empty() { None } else { changes.get(name) }
}

/// In a host's first label's place: any one label. Those who hold the exact name come before.
const WILDCARD: &str = "*.";

fn canonical(host: &str) -> Result<(), TableError> {
    let name = host.strip_prefix(WILDCARD).unwrap_or(host);
    match crate::target::host_of(name.as_bytes()) {
        Some(known) if known == name => Ok(()),
        _ => Err(TableError::Host(host.to_owned())),
    }
}

impl<'a> Seat<'a> {
    fn of(route: &'a Route) -> Self {
        Self { tenant: route.tenant.as_str(), cell: &route.cell, generation: route.generation, tier: &route.tier }
    }

    fn packed(record: Record<'a>) -> Self {
        Self { tenant: record.tenant, cell: record.cell, generation: record.generation, tier: record.tier }
    }
}
