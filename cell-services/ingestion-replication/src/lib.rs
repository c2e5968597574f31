//! The sink: rows off the data bus into Iceberg tables, exactly once.
//!
//! A table carries its own progress (next offset by partition) in the commit that adds the rows, and
//! the commit asserts the snapshot it was built on. So rows and progress are one fact, a second
//! committer loses its race, and the group's offsets are only a hint where to begin reading.

mod api;
mod config;
mod decode;
mod domain;
mod error;
mod events;
mod jobs;
mod ops;
mod store;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use contracts::events::STREAMING_RECORD_ACCEPTED;
use contracts::services::{self, ServiceDeclaration};
use event_bus_control::ControlBus;
use event_bus_data::DataBus;
use kit::metrics::Metrics;
use kit::moving::TenantTable;
use kit::service::{Context, Service, StartError, Surface};
use kit::tasks::Policy;
use lakehouse::{Bucket, Catalog};

use crate::config::Settings;
use crate::ops::definitions::Definitions;
use crate::ops::log::Topic;
use crate::ops::record::Ledger;
use crate::ops::tables::Tables;
use crate::ops::wanted::{Wanted, wishes};
use crate::ops::{Counters, Generations, Sink, run};

/// Seconds.
const COMMIT_BUCKETS: [f64; 9] = [0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 120.0];

/// The group is `ingestion-replication.sink`.
const PURPOSE: &str = "sink";

struct IngestionReplication;

pub fn service() -> Box<dyn Service> {
    Box::new(IngestionReplication)
}

#[async_trait]
impl Service for IngestionReplication {
    fn declaration(&self) -> &'static ServiceDeclaration {
        services::declared(services::INGESTION_REPLICATION)
    }

    fn migrator(&self) -> Option<sqlx::migrate::Migrator> {
        Some(sqlx::migrate!())
    }

    fn tenant_tables(&self) -> &'static [TenantTable] {
        const { &[TenantTable::rows("sinks")] }
    }

    fn openapi(&self) -> utoipa::openapi::OpenApi {
        api::describe()
    }

    async fn start(&self, context: Context) -> Result<Surface, StartError> {
        let settings: Settings = context.settings()?;
        let database = context.database()?;
        let bus = DataBus::connect(&context.kafka, services::INGESTION_REPLICATION)?;
        let control = ControlBus::connect(&context.nats, services::INGESTION_REPLICATION).await?;
        let control = control.watched(context.deliveries());
        let bucket = Bucket::connect(&context.bucket)?;
        bucket.probe().await?;
        context.relay(bus.clone())?;
        context.relay(control.clone())?;
        let consumer = bus.consumer(STREAMING_RECORD_ACCEPTED, PURPOSE)?;
        let (ask, wishes) = wishes();
        let lag = Arc::new(bus.lag_meter(STREAMING_RECORD_ACCEPTED, PURPOSE)?);
        context.settling.add(Wanted { ask, meter: Arc::clone(&lag) });
        context.settling.add(bus.clone());
        context.settling.add(control.clone());
        jobs::measure_lag(&context.tasks, &context.metrics, &lag);
        let lineage_seconds = settings.lineage_seconds;
        let sink = Arc::new(Sink {
            log: Box::new(Topic::new(bus, consumer)?),
            catalog: Catalog::new(context.peers.http(services::ICEBERG_CATALOG)?),
            bucket,
            definitions: Definitions::new(Arc::new(context.peers.http(services::STREAMING)?)),
            journal: Box::new(Ledger { cell: context.cell.clone(), database: database.clone(), lineage_seconds }),
            tables: Tables::default(),
            generations: Generations::new(Arc::clone(&context.placements)),
            settings,
            counters: counters(&context.metrics),
            tracer: context.tracer.clone(),
        });
        events::follow_streams(&context.tasks, &control, Arc::clone(&sink), database.clone())?;
        let running = run::run(sink, wishes, context.tasks.stopping());
        context.tasks.spawn("sink", Policy::EndProcess, async move { Ok(running.await?) });
        Ok(Surface { http: api::router(api::Handlers { database, lag }), flight: None })
    }
}

fn counters(metrics: &Metrics) -> Counters {
    let rows = metrics.counter("sink_rows_committed", "Rows committed to tables");
    let letters = metrics.counter("sink_dead_letters", "Records given up into the dead letters");
    let seconds = metrics.histogram(
        "sink_commit_duration_seconds",
        "From the reading of a round's oldest row to its commit",
        COMMIT_BUCKETS,
    );
    let freshness = metrics.histogram(
        "sink_freshness_seconds",
        "From the making of a commit's oldest row to the commit",
        COMMIT_BUCKETS,
    );
    Counters {
        rows: Box::new(move |count| {
            rows.inc_by(count);
        }),
        dead_letters: Box::new(move |count| {
            letters.inc_by(count);
        }),
        commit_seconds: Box::new(move |time| seconds.observe(time)),
        freshness: Box::new(move |time| freshness.observe(time)),
    }
}
