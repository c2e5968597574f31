//! The routing table as it travels from tenancy to routers and cells.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::groups::Groups;
use crate::tiers::Tier;
use crate::{CellId, Generation, TenantId, TierId};

/// Where a tenant lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    pub tenant: TenantId,
    pub cell: CellId,
    pub generation: Generation,
    /// Hosts without port that belong to the tenant, lower case; at least one.
    pub hosts: Vec<String>,
    /// One of the table's tiers, or [`TierId::default`], which need not be among them.
    #[serde(default)]
    pub tier: TierId,
}

/// Where a cell listens. A name is followed by each router on its own; what it leads to is served on when it is not
/// answered any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CellEndpoint {
    pub cell: CellId,
    /// `ip:port` or `name:port` of the gateway.
    pub http: String,
    /// `ip:port` or `name:port` of the SQL edge.
    pub flight: String,
    /// `ip:port` or `name:port` of the cell's own door, where TLS of its tenants' own domains ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub door: Option<String>,
}

/// The whole table at one version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Table {
    /// Position in the routing log; grows by one with every change.
    pub version: u64,
    pub cells: BTreeMap<CellId, CellEndpoint>,
    pub routes: BTreeMap<TenantId, Route>,
    #[serde(default)]
    pub tiers: BTreeMap<TierId, Tier>,
    /// Tenants that were removed so far.
    #[serde(default)]
    pub removed: u64,
    #[serde(default)]
    pub groups: Groups,
}

/// One change of the routing log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Change {
    CellUpserted {
        endpoint: CellEndpoint,
    },
    CellRemoved {
        cell: CellId,
    },
    TierUpserted {
        tier: Tier,
    },
    TierRemoved {
        tier: TierId,
    },
    /// All groups of routers there are from now on.
    GroupsChanged {
        groups: Groups,
    },
    TenantPlaced {
        route: Route,
    },
    TenantRemoved {
        tenant: TenantId,
    },
    /// Its cell lets in nothing of it any more; it is entered again where it is placed at `generation` or above.
    TenantLeaving {
        tenant: TenantId,
        generation: Generation,
    },
}

/// Routes in one line of a table: a line is short enough to be held, and long enough to be worth its framing.
pub const MOST_ROUTES: usize = 500;

/// One line of the feed (NDJSON).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "snake_case")]
pub enum FeedLine {
    /// A whole table begins, as it is at `version`; its routes follow. So many tenants were `removed` up to then.
    Begin {
        version: u64,
        cells: Vec<CellEndpoint>,
        tiers: Vec<Tier>,
        removed: u64,
        #[serde(default)]
        groups: Groups,
    },
    /// Some of its routes, at most [`MOST_ROUTES`].
    Routes { routes: Vec<Route> },
    /// The table is whole, with so many routes, and replaces everything the reader holds.
    End { version: u64, tenants: u64 },
    /// `version` is the table's version after the change.
    Delta { version: u64, change: Change },
    /// Nothing changed; proves that the feed is alive. Sent every 5 s.
    Heartbeat { version: u64 },
    /// The lines since the last seal are tenancy's: nothing of them is in force before. See [`crate::seal`].
    Seal {
        /// Key id in the JWKS of the global plane.
        kid: String,
        /// Ed25519, base64 (URL-safe, no padding).
        signature: String,
    },
}

/// Why a change or a whole table was refused; the table held is unchanged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    #[error("delta {got} does not follow table version {have}")]
    Gap { have: u64, got: u64 },
    #[error("tenant {tenant} is placed in unknown cell {cell}")]
    UnknownCell { tenant: TenantId, cell: CellId },
    #[error("tenant {tenant} would go back from generation {have} to {got}")]
    Backwards { tenant: TenantId, have: Generation, got: Generation },
    #[error("cell {cell} still holds tenant {tenant}")]
    CellInUse { cell: CellId, tenant: TenantId },
    #[error("tenant {tenant} is of unknown tier {tier}")]
    UnknownTier { tenant: TenantId, tier: TierId },
    #[error("tier {tier} still has tenant {tenant}")]
    TierInUse { tier: TierId, tenant: TenantId },
    #[error("tier {0} has a rate without a burst")]
    Tier(TierId),
    #[error("host {host} belongs to two tenants")]
    HostTaken { host: String },
    #[error("tenant {tenant} has no host")]
    NoHost { tenant: TenantId },
    #[error("it is version {got}, older than version {have}")]
    Older { have: u64, got: u64 },
    #[error("it differs from the table of the same version {0}")]
    Differs(u64),
    #[error("it loses {lost} of {had} tenants, of which {removed} were removed")]
    Implausible { had: u64, lost: u64, removed: u64 },
}

/// Whether a table may have lost `lost` of the `had` tenants of the one before it, when `removed` were removed between
/// them. A table that has lost all of them, or more than a handful and 1 %, without its writer having removed as many
/// is that of a broken source.
pub fn plausible(had: u64, lost: u64, removed: u64) -> Result<(), ApplyError> {
    let unexplained = lost.saturating_sub(removed);
    if unexplained > 0 && (lost == had || unexplained > (had / 100).max(16)) {
        return Err(ApplyError::Implausible { had, lost, removed });
    }
    Ok(())
}

/// Refuses a tier that would let nothing in.
pub fn check_tier(tier: &Tier) -> Result<(), ApplyError> {
    if tier.is_sound() { Ok(()) } else { Err(ApplyError::Tier(tier.tier.clone())) }
}

impl Table {
    /// Applies the change that leads to `version`, or leaves the table as it was.
    pub fn apply(&mut self, version: u64, change: &Change) -> Result<(), ApplyError> {
        if version != self.version + 1 {
            return Err(ApplyError::Gap { have: self.version, got: version });
        }
        match change {
            Change::CellUpserted { endpoint } => {
                self.cells.insert(endpoint.cell.clone(), endpoint.clone());
            }
            Change::CellRemoved { cell } => {
                if let Some(route) = self.routes.values().find(|r| &r.cell == cell) {
                    return Err(ApplyError::CellInUse { cell: cell.clone(), tenant: route.tenant.clone() });
                }
                self.cells.remove(cell);
            }
            Change::TierUpserted { tier } => {
                check_tier(tier)?;
                self.tiers.insert(tier.tier.clone(), tier.clone());
            }
            Change::TierRemoved { tier } => {
                if *tier != TierId::default()
                    && let Some(route) = self.routes.values().find(|r| &r.tier == tier)
                {
                    return Err(ApplyError::TierInUse { tier: tier.clone(), tenant: route.tenant.clone() });
                }
                self.tiers.remove(tier);
            }
            Change::GroupsChanged { groups } => self.groups = groups.clone(),
            Change::TenantPlaced { route } => {
                self.check_route(route)?;
                self.routes.insert(route.tenant.clone(), route.clone());
            }
            Change::TenantRemoved { tenant } => {
                self.routes.remove(tenant);
                self.removed += 1;
            }
            // Where it lives is as before.
            Change::TenantLeaving { .. } => {}
        }
        self.version = version;
        Ok(())
    }

    /// Checks every invariant of a table that came from outside.
    pub fn validate(&self) -> Result<(), ApplyError> {
        self.tiers.values().try_for_each(check_tier)?;
        let mut seen = BTreeMap::new();
        for route in self.routes.values() {
            self.check_alone(route)?;
            for host in &route.hosts {
                if seen.insert(host, &route.tenant).is_some() {
                    return Err(ApplyError::HostTaken { host: host.clone() });
                }
            }
        }
        Ok(())
    }

    /// The table as it travels.
    pub fn lines(&self) -> Vec<FeedLine> {
        let (cells, tiers) = (self.cells.values().cloned().collect(), self.tiers.values().cloned().collect());
        let mut lines = vec![FeedLine::Begin {
            version: self.version,
            cells,
            tiers,
            removed: self.removed,
            groups: self.groups.clone(),
        }];
        let routes: Vec<&Route> = self.routes.values().collect();
        let pieces = routes.chunks(MOST_ROUTES);
        lines.extend(pieces.map(|piece| FeedLine::Routes { routes: piece.iter().copied().cloned().collect() }));
        lines.push(FeedLine::End { version: self.version, tenants: routes.len() as u64 });
        lines
    }

    fn check_route(&self, route: &Route) -> Result<(), ApplyError> {
        self.check_alone(route)?;
        if let Some(old) = self.routes.get(&route.tenant)
            && old.generation > route.generation
        {
            return Err(ApplyError::Backwards {
                tenant: route.tenant.clone(),
                have: old.generation,
                got: route.generation,
            });
        }
        let taken = |host: &String| {
            self.routes.values().any(|other| other.tenant != route.tenant && other.hosts.contains(host))
        };
        match route.hosts.iter().find(|host| taken(host)) {
            Some(host) => Err(ApplyError::HostTaken { host: host.clone() }),
            None => Ok(()),
        }
    }

    /// Whether a route fits, whatever others there are.
    fn check_alone(&self, route: &Route) -> Result<(), ApplyError> {
        if route.hosts.is_empty() {
            return Err(ApplyError::NoHost { tenant: route.tenant.clone() });
        }
        if !self.cells.contains_key(&route.cell) {
            return Err(ApplyError::UnknownCell { tenant: route.tenant.clone(), cell: route.cell.clone() });
        }
        if route.tier != TierId::default() && !self.tiers.contains_key(&route.tier) {
            return Err(ApplyError::UnknownTier { tenant: route.tenant.clone(), tier: route.tier.clone() });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(name: &str) -> CellEndpoint {
        CellEndpoint {
            cell: CellId::new(name).unwrap(),
            http: "127.0.2.1:8080".into(),
            flight: "127.0.2.1:50133".into(),
            door: None,
        }
    }

    fn route(tenant: &str, cell: &str, generation: u64) -> Route {
        Route {
            tenant: TenantId::new(tenant).unwrap(),
            cell: CellId::new(cell).unwrap(),
            generation: Generation(generation),
            hosts: vec![format!("{tenant}.localhost")],
            tier: TierId::default(),
        }
    }

    fn table() -> Table {
        let mut table = Table::default();
        table.apply(1, &Change::CellUpserted { endpoint: cell("shared-1") }).unwrap();
        table.apply(2, &Change::TenantPlaced { route: route("acme", "shared-1", 5) }).unwrap();
        table
    }

    #[test]
    fn a_refused_change_leaves_the_table_alone() {
        let before = table();
        let mut table = before.clone();
        let refused = [
            (9, Change::TenantRemoved { tenant: TenantId::new("acme").unwrap() }),
            (3, Change::TenantPlaced { route: route("acme", "shared-1", 4) }),
            (3, Change::TenantPlaced { route: route("globex", "nowhere", 1) }),
            (3, Change::CellRemoved { cell: CellId::new("shared-1").unwrap() }),
            (
                3,
                Change::TenantPlaced {
                    route: Route { hosts: vec!["acme.localhost".into()], ..route("globex", "shared-1", 1) },
                },
            ),
            (3, Change::TenantPlaced { route: Route { hosts: vec![], ..route("globex", "shared-1", 1) } }),
            (3, Change::TenantPlaced { route: Route { tier: gold(), ..route("globex", "shared-1", 1) } }),
            (3, Change::TierUpserted { tier: Tier { bytes_per_second: 1, ..Tier::unlimited(gold()) } }),
        ];
        for (version, change) in refused {
            assert!(table.apply(version, &change).is_err(), "{change:?}");
            assert_eq!(table, before);
        }
    }

    fn gold() -> TierId {
        TierId::new("gold").unwrap()
    }

    #[test]
    fn a_tier_stays_while_it_has_tenants() {
        let mut table = table();
        let of_gold = Route { tier: gold(), ..route("globex", "shared-1", 6) };
        table.apply(3, &Change::TierUpserted { tier: Tier::unlimited(gold()) }).unwrap();
        table.apply(4, &Change::TenantPlaced { route: of_gold }).unwrap();
        let removed = Change::TierRemoved { tier: gold() };
        assert!(matches!(table.apply(5, &removed), Err(ApplyError::TierInUse { .. })));
        assert_eq!(table.validate(), Ok(()));
        table.apply(5, &Change::TenantPlaced { route: route("globex", "shared-1", 6) }).unwrap();
        table.apply(6, &removed).unwrap();
        assert!(table.tiers.is_empty());
    }

    /// What was written before there were tiers.
    #[test]
    fn a_table_without_tiers_is_read() {
        let mut old = serde_json::to_value(table()).unwrap();
        old.as_object_mut().unwrap().remove("tiers");
        old["routes"]["acme"].as_object_mut().unwrap().remove("tier");
        assert_eq!(serde_json::from_value::<Table>(old).unwrap(), table());
    }

    #[test]
    fn a_table_loses_whom_its_writer_removed_and_few_others() {
        for (had, lost, removed, fits) in [
            (1, 1, 0, false),
            (1, 1, 1, true),
            (10_000, 100, 0, true),
            (10_000, 101, 0, false),
            (10_000, 9_000, 8_900, true),
            (10_000, 9_000, 8_899, false),
            (10_000, 10_000, 9_999, false),
            (10_000, 0, 0, true),
        ] {
            assert_eq!(plausible(had, lost, removed).is_ok(), fits, "{lost} of {had}, {removed} removed");
        }
    }

    #[test]
    fn a_snapshot_with_a_shared_host_is_not_valid() {
        let mut table = table();
        table.routes.insert(
            TenantId::new("globex").unwrap(),
            Route { hosts: vec!["acme.localhost".into()], ..route("globex", "shared-1", 1) },
        );
        assert!(matches!(table.validate(), Err(ApplyError::HostTaken { .. })));
    }
}
