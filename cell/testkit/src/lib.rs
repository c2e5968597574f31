//! Real servers for tests: a Postgres, a NATS, a Kafka, or a whole site, started once and shared.
//!
//! Nothing here stands in for a part of the platform. What a test process starts dies with it.

mod client;
mod collector;
mod condition;
mod family;
mod folder;
mod hostile;
mod kafka;
mod nats;
mod postgres;
mod programs;
mod proxy;
mod quantile;
mod scope;
mod site;
mod suite;
mod tenants;

pub use client::{Answer, Http};
pub use collector::{Collector, Seen};
pub use condition::{eventually, within};
pub use hostile::hostile;
pub use kafka::{Kafka, kafka};
pub use nats::{Nats, nats};
pub use postgres::database;
pub use programs::{binary, part, python};
pub use proxy::{Proxy, Weather};
pub use quantile::quantile;
pub use scope::{scope, scope_with};
pub use site::{Arrangement, Site};
pub use suite::{Case, Suite};
pub use tenants::{Admin, ClientSecret, Tenant, token};
