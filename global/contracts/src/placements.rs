//! Which tenants live in a cell, as tenancy tells that cell. A cell hears of no tenant that never lived in it.

use serde::{Deserialize, Serialize};

use crate::routing::Change;
use crate::{CellId, Generation, TenantId};

/// One line of a cell's feed (NDJSON).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "snake_case")]
pub enum PlacementLine {
    /// A piece of the list of all that live here at `version`. The one marked `last` completes it, and it
    /// replaces what the reader holds.
    Tenants {
        version: u64,
        tenants: Vec<(TenantId, Generation)>,
        /// Those of them that are leaving, and the generation at which they are entered again.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        leaving: Vec<(TenantId, Generation)>,
        /// So many have left the cell so far.
        #[serde(default)]
        departed: u64,
        last: bool,
    },
    /// `after` is the version of the line before; changes that do not concern the cell lie in between.
    Changed { version: u64, after: u64, tenant: TenantId, place: Place },
    /// The reader has heard everything that concerns it up to `version`. Sent every 5 s, so that it knows
    /// that the feed is alive.
    Heartbeat { version: u64 },
}

/// Where a tenant lives, as seen from a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "at", rename_all = "snake_case")]
pub enum Place {
    Here {
        generation: Generation,
    },
    Elsewhere {
        generation: Generation,
    },
    /// Still here, for what its last requests left behind; entered again at `generation`, elsewhere.
    Leaving {
        generation: Generation,
    },
    Gone,
}

/// What a change of the routing log means for a cell that it concerns; `None` if it is about no tenant.
pub fn place_in(cell: &CellId, change: &Change) -> Option<(TenantId, Place)> {
    match change {
        Change::TenantPlaced { route } => {
            let generation = route.generation;
            let place = if route.cell == *cell { Place::Here { generation } } else { Place::Elsewhere { generation } };
            Some((route.tenant.clone(), place))
        }
        Change::TenantRemoved { tenant } => Some((tenant.clone(), Place::Gone)),
        Change::TenantLeaving { tenant, generation } => {
            Some((tenant.clone(), Place::Leaving { generation: *generation }))
        }
        Change::CellUpserted { .. }
        | Change::CellRemoved { .. }
        | Change::TierUpserted { .. }
        | Change::TierRemoved { .. }
        | Change::GroupsChanged { .. } => None,
    }
}
