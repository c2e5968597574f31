//! The words everyone uses: ids, claims, headers, events, topics, subjects, routes.
//!
//! Invariant: this crate knows no runtime, no transport and no database. It only names things,
//! so that a topic, a header or a port is written down exactly once in the whole platform.

pub mod bundle;
pub mod claims;
pub mod envelope;
pub mod events;
pub mod groups;
pub mod headers;
pub mod ids;
pub mod kafka;
pub mod key_cards;
pub mod nats;
pub mod placements;
pub mod routing;
pub mod seal;
pub mod services;
pub mod shares;
pub mod tiers;
pub mod trace;

pub use claims::Claims;
pub use envelope::Envelope;
pub use ids::{CellId, Generation, GroupId, Rid, TenantId, TierId};
pub use trace::TraceParent;
