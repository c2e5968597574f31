//! What every service stands on: faults, scope, configuration, database, tasks, HTTP, identity.
//!
//! Invariant: the kit knows no service's name, table or event meaning beyond what `contracts`
//! declares, and nothing here decides a business rule.

pub mod admission;
pub mod clock;
pub mod config;
pub mod database;
pub mod deliveries;
pub mod exchange;
pub mod fault;
pub mod feeds;
pub mod http;
pub mod inbox;
pub mod metrics;
pub mod moving;
pub mod nature;
pub mod outbox;
mod patience;
pub mod peers;
pub mod placements;
pub mod retention;
pub mod scope;
pub mod seal;
pub mod secret;
pub mod service;
pub mod tasks;
pub mod telemetry;
pub mod tls;
pub mod token;
pub mod turns;

pub use fault::{Fault, Kind, Problem};
pub use scope::{Actor, Scope};
pub use secret::Secret;
