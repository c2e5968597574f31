//! Use cases.

pub mod commit;
pub mod definitions;
pub mod record;
pub mod run;
pub mod sinks;
pub mod tables;

use std::collections::HashMap;
use std::sync::Arc;

use contracts::{CellId, Generation, TenantId, services};
use event_bus_data::DataBus;
use kit::Scope;
use kit::database::Database;
use kit::placements::Placements;
use lakehouse::{Bucket, Catalog};
use parking_lot::Mutex;
use tokio::sync::OnceCell;

use crate::config::Settings;
use crate::error::Error;
use crate::ops::definitions::Definitions;
use crate::ops::tables::Tables;

/// What the use cases need.
pub struct App {
    pub cell: CellId,
    pub database: Database,
    pub bus: DataBus,
    pub catalog: Catalog,
    pub bucket: Bucket,
    pub placements: Arc<Placements>,
    pub definitions: Definitions,
    pub tables: Tables,
    pub settings: Settings,
    pub generations: Generations,
    /// Asked of the broker once: progress is worth nothing without it.
    pub topic_id: OnceCell<String>,
    pub counters: Counters,
}

pub struct Counters {
    pub rows: Box<dyn Fn(u64) + Send + Sync>,
    pub dead_letters: Box<dyn Fn(u64) + Send + Sync>,
    /// Seconds from the oldest row's reading to its commit.
    pub commit_seconds: Box<dyn Fn(f64) + Send + Sync>,
}

/// Newest generation of each tenant that anybody has shown us.
#[derive(Default)]
pub struct Generations(Mutex<HashMap<TenantId, Generation>>);

impl Generations {
    pub fn learn(&self, tenant: &TenantId, generation: Generation) -> Generation {
        let mut known = self.0.lock();
        let newest = known.entry(tenant.clone()).or_default();
        *newest = (*newest).max(generation);
        *newest
    }
}

impl App {
    /// This service acting for itself in a tenant: at the generation the cell serves it at, which
    /// may be newer than the one its rows were written at.
    pub fn scope(&self, tenant: &TenantId, seen: Generation) -> Scope {
        let placed = self.placements.generation(tenant).unwrap_or_default();
        let generation = self.generations.learn(tenant, seen.max(placed));
        Scope::of_service(services::INGESTION_REPLICATION, tenant.clone(), generation)
    }

    pub fn producer(&self) -> String {
        format!("https://cytoplane.dev/{}", services::INGESTION_REPLICATION)
    }

    pub async fn topic_id(&self) -> Result<&str, Error> {
        let id =
            self.topic_id.get_or_try_init(|| self.bus.topic_id(contracts::events::STREAMING_RECORD_ACCEPTED)).await?;
        Ok(id)
    }
}
