//! A light Flight SQL client: Arrow and gRPC, no query engine.
//!
//! The CLI, services that read other services' data and the SQL edge all speak to a Flight SQL
//! server through this crate, so there is one place that knows tickets, endpoints and headers.

mod client;
mod error;
mod prepared;
mod results;
mod transport;

pub use arrow_flight::sql::{CommandGetDbSchemas, CommandGetTables};
pub use arrow_flight::{CancelStatus, FlightData, FlightInfo, Ticket};
pub use client::Client;
pub use error::Error;
pub use prepared::Prepared;
pub use results::Results;
pub use transport::{Tls, connect};

pub type Result<T> = std::result::Result<T, Error>;
