//! Use cases.

pub mod commit;
pub mod definitions;
mod into_table;
mod letters;
pub mod log;
mod patience;
pub mod record;
pub mod run;
pub mod sinks;
pub mod tables;
pub mod wanted;

use std::collections::HashMap;
use std::sync::Arc;

use contracts::{Generation, TenantId, services};
use kit::Scope;
use kit::placements::Placements;
use lakehouse::{Bucket, Catalog};
use parking_lot::Mutex;
use trace::Tracer;

use crate::config::Settings;
use crate::ops::definitions::Definitions;
use crate::ops::log::Log;
use crate::ops::record::Journal;
use crate::ops::tables::Tables;

/// What the sink works with. What may be lost or late lies behind a trait or a client, so that the
/// whole of it can be simulated.
pub struct Sink {
    pub log: Box<dyn Log>,
    pub catalog: Catalog,
    pub bucket: Bucket,
    pub definitions: Definitions,
    pub journal: Box<dyn Journal>,
    pub tables: Tables,
    pub generations: Generations,
    pub settings: Settings,
    pub counters: Counters,
    pub tracer: Tracer,
}

pub struct Counters {
    pub rows: Box<dyn Fn(u64) + Send + Sync>,
    pub dead_letters: Box<dyn Fn(u64) + Send + Sync>,
    /// Seconds from the oldest row's reading to its commit.
    pub commit_seconds: Box<dyn Fn(f64) + Send + Sync>,
    /// Seconds from the making of a commit's oldest row to the commit.
    pub freshness: Box<dyn Fn(f64) + Send + Sync>,
}

/// Newest generation of each tenant that anybody has shown us.
pub struct Generations {
    placements: Arc<Placements>,
    shown: Mutex<HashMap<TenantId, Generation>>,
}

impl Generations {
    pub fn new(placements: Arc<Placements>) -> Self {
        Self { placements, shown: Mutex::default() }
    }

    pub fn learn(&self, tenant: &TenantId, generation: Generation) -> Generation {
        let mut shown = self.shown.lock();
        let newest = shown.entry(tenant.clone()).or_default();
        *newest = (*newest).max(generation);
        *newest
    }
}

impl Sink {
    /// This service acting for itself in a tenant: at the generation the cell serves it at, which
    /// may be newer than the one its rows were written at.
    pub fn scope(&self, tenant: &TenantId, seen: Generation) -> Scope {
        let placed = self.generations.placements.generation(tenant).unwrap_or_default();
        let generation = self.generations.learn(tenant, seen.max(placed));
        Scope::of_service(services::INGESTION_REPLICATION, tenant.clone(), generation)
    }
}
