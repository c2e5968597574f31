//! How routers share what one tenant may use of all of them (docs/adr/0019-routers-share-a-limit.md).

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{CellId, TenantId};

/// Shares and pressures count in millionths of a tenant's whole limit.
pub const WHOLE: u32 = 1_000_000;

/// Tenants in one report at most; the ones under the least pressure are left out.
pub const MOST_USES: usize = 1_000;

/// Cells in one report at most.
pub const MOST_LOADS: usize = 1_000;

/// What a router says every second.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The same after a restart.
    pub router: Uuid,
    /// What it allows each tenant that is not among `uses`.
    pub rest: u32,
    /// Tenants that press their share here, and all that have a share of their own.
    pub uses: Vec<Use>,
    /// What it brings to cells; those that it brings nothing are left out.
    #[serde(default)]
    pub loads: Vec<Load>,
}

/// What one cell was asked since the last report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    pub cell: CellId,
    pub requests_per_second: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Use {
    pub tenant: TenantId,
    /// What the router allows it now.
    pub share: u32,
    /// What was asked for since the last report; above [`WHOLE`] if one router alone could use up the limit.
    pub pressure: u32,
}

/// What the router may allow from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shares {
    /// Of each tenant that has no share of its own.
    pub rest: u32,
    pub shares: Vec<Share>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    pub tenant: TenantId,
    pub share: u32,
}
