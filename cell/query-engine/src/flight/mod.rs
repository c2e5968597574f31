//! A Flight SQL server: every command, action and call of the protocol that a server that only
//! reads can honour. The library's blanket trait cannot poll or answer `GetSchema`, so this is
//! `FlightService` itself, with the library's messages.
//!
//! It keeps no state between calls: tickets and prepared handles carry their statement, sealed and
//! bound to tenant and principal, so any replica can answer any call.

mod actions;
mod backend;
mod capabilities;
mod encode;
mod info;
mod metadata;
mod put;
mod running;
mod schemas;
mod server;
mod sessions;
mod statement;
mod xdbc;

pub use backend::{Backend, Description, EngineBackend, Messages, hold};
pub use encode::{count_rows, encode};
pub use server::FlightSqlServer;
pub use statement::{Statement, Tickets};
