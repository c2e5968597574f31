//! SQL over a tenant's Iceberg tables: DataFusion bound to one tenant, and the Flight SQL server.
//!
//! The engine reads. It plans a statement against the tables of exactly one tenant, refuses on the
//! bound plan whatever would change anything, and scans Parquet with DataFusion's own reader, fed
//! by Iceberg manifests and their statistics.

mod catalog;
mod classify;
mod engine;
mod error;
mod extent;
pub mod flight;
pub mod iceberg;
mod limits;
mod memory;
mod parameters;
mod plans;
mod redaction;
mod remote;
mod session;
mod source;
mod workers;
mod yielding;

pub use engine::{Bound, Engine, Request};
pub use error::Error;
pub use limits::Limits;
pub use redaction::redact;
pub use remote::FlightSqlTable;
pub use session::SessionOptions;
pub use source::{Pin, Resolved, TableName, TableSource};
pub use workers::Rows;

pub type Result<T, E = Error> = std::result::Result<T, E>;
