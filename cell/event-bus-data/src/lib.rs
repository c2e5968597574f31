//! The data bus: Kafka, replayable state, at-least-once with explicit commits.
//!
//! Invariants:
//! - a producer waits for every in-sync replica (`acks=all`) and is idempotent;
//! - no record leaves without its five OpenLineage headers: [`RecordHeaders`] cannot be made
//!   without an [`OpenLineage`];
//! - a consumer commits only what its caller says is done; nothing is committed by time;
//! - nothing here creates a topic except [`contract::apply`], which the cell's operator runs.

mod acl;
mod connection;
mod consumer;
pub mod contract;
mod dead_letter;
mod error;
mod event_consumer;
mod headers;
mod producer;
mod publisher;
mod settling;
mod topic_admin;

pub use connection::DataBus;
pub use consumer::{Assignment, DataConsumer, LagMeter, Position, RecordView, TailReader, TailStart};
pub use dead_letter::{Letter, Reason};
pub use error::BusError;
pub use event_consumer::{Delivery, EventConsumer, NotStored, Storing};
pub use headers::{OpenLineage, RecordHeaders};
pub use producer::{Acknowledged, Batch, DataProducer};
pub use topic_admin::TopicIdentity;
