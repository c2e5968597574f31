//! The control bus: NATS JetStream, small signals, at-least-once.
//!
//! Invariants:
//! - only declared events are published, each with its event id as `Nats-Msg-Id`, and a publish is
//!   done only when JetStream has acknowledged it;
//! - streams and consumers are made by [`contract::apply`] alone, which the cell's operator runs;
//! - what must not be lost leaves by a Postgres outbox: JetStream flushes to disk every two minutes.

mod connection;
mod consumer;
pub mod contract;
mod error;
mod publisher;
mod settling;

pub use connection::ControlBus;
pub use consumer::{ControlConsumer, ControlDelivery};
pub use error::ControlBusError;
