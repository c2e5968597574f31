//! The routing table as requests read it: whole, indexed, immutable.

mod follower;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::SocketAddr;

use contracts::routing::{ApplyError, Route, Table};
use contracts::services::{GATEWAY, SQL_BI_GATEWAY};
use contracts::{CellId, TenantId};

pub use follower::{Follower, StepError};

/// Why a table was refused; the last good one stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    #[error(transparent)]
    Rule(#[from] ApplyError),
    #[error("cell {0} has an address that is not ip:port")]
    Address(CellId),
    #[error("an entry for {0} stands under another name")]
    Misfiled(String),
    #[error("{0:?} is not a host in canonical form")]
    Host(String),
    #[error("it is not a table: {0}")]
    Shape(String),
}

/// Where a cell listens, and the name its certificate must carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entrance {
    pub address: SocketAddr,
    pub name: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Endpoints {
    http: Entrance,
    flight: Entrance,
}

/// The surface of a cell a request goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surface {
    Http,
    Flight,
}

/// A table with its indexes.
#[derive(Debug, Default)]
pub struct View {
    table: Table,
    hosts: HashMap<Box<str>, TenantId>,
    endpoints: HashMap<CellId, Endpoints>,
}

impl View {
    /// Checks every invariant and builds the indexes.
    pub fn new(table: Table) -> Result<Self, TableError> {
        table.validate()?;
        let mut endpoints = HashMap::with_capacity(table.cells.len());
        for (cell, endpoint) in &table.cells {
            if cell != &endpoint.cell {
                return Err(TableError::Misfiled(cell.to_string()));
            }
            let entrance = |address: &str, service: &str| {
                let address = address.parse().map_err(|_| TableError::Address(cell.clone()))?;
                Ok::<_, TableError>(Entrance { address, name: format!("{service}.{cell}.cytoplane.internal") })
            };
            let both = Endpoints {
                http: entrance(&endpoint.http, GATEWAY)?,
                flight: entrance(&endpoint.flight, SQL_BI_GATEWAY)?,
            };
            endpoints.insert(cell.clone(), both);
        }
        let mut hosts = HashMap::with_capacity(table.routes.len());
        for (tenant, route) in &table.routes {
            if tenant != &route.tenant {
                return Err(TableError::Misfiled(tenant.to_string()));
            }
            for host in &route.hosts {
                if crate::target::host_of(host.as_bytes()).as_deref() != Some(host.as_str()) {
                    return Err(TableError::Host(host.clone()));
                }
                hosts.insert(host.clone().into_boxed_str(), tenant.clone());
            }
        }
        Ok(Self { table, hosts, endpoints })
    }

    /// A view out of a snapshot file's payload.
    pub fn read(version: u64, payload: &[u8]) -> Result<Self, TableError> {
        let table: Table = serde_json::from_slice(payload).map_err(|e| TableError::Shape(e.to_string()))?;
        if table.version != version {
            return Err(TableError::Shape(format!("version {} in a file of version {version}", table.version)));
        }
        Self::new(table)
    }

    pub fn by_host(&self, host: &str) -> Option<&Route> {
        self.hosts.get(host).and_then(|tenant| self.table.routes.get(tenant))
    }

    pub fn by_tenant(&self, tenant: &TenantId) -> Option<&Route> {
        self.table.routes.get(tenant)
    }

    pub fn entrance(&self, cell: &CellId, surface: Surface) -> Option<&Entrance> {
        self.endpoints.get(cell).map(|both| match surface {
            Surface::Http => &both.http,
            Surface::Flight => &both.flight,
        })
    }

    pub fn table(&self) -> &Table {
        &self.table
    }

    pub fn version(&self) -> u64 {
        self.table.version
    }
}
