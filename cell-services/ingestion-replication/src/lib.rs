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
mod ops;
mod store;

use std::sync::Arc;

use async_trait::async_trait;
use contracts::events::STREAMING_RECORD_ACCEPTED;
use contracts::services::{self, ServiceDeclaration};
use event_bus_control::ControlBus;
use event_bus_data::DataBus;
use kit::metrics::Metrics;
use kit::service::{Context, Service, StartError, Surface};
use kit::tasks::Policy;
use lakehouse::{Bucket, Catalog};
use tokio::sync::OnceCell;

use crate::config::Settings;
use crate::ops::definitions::Definitions;
use crate::ops::tables::Tables;
use crate::ops::{App, Counters, Generations, run};

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

    fn openapi(&self) -> utoipa::openapi::OpenApi {
        api::describe()
    }

    async fn start(&self, context: Context) -> Result<Surface, StartError> {
        let settings: Settings = context.settings()?;
        let bus = DataBus::connect(&context.kafka, services::INGESTION_REPLICATION)?;
        let control = ControlBus::connect(&context.nats, services::INGESTION_REPLICATION).await?;
        let bucket = Bucket::connect(&context.bucket)?;
        bucket.probe().await?;
        context.relay(bus.clone())?;
        context.relay(control.clone())?;
        let consumer = bus.consumer(STREAMING_RECORD_ACCEPTED, PURPOSE)?;
        let lag = bus.lag_meter(STREAMING_RECORD_ACCEPTED, PURPOSE)?;
        let app = Arc::new(App {
            cell: context.cell.clone(),
            database: context.database()?,
            bus,
            catalog: Catalog::new(context.peers.http(services::ICEBERG_CATALOG)?),
            bucket,
            placements: Arc::clone(&context.placements),
            definitions: Definitions::new(context.peers.http(services::STREAMING)?),
            tables: Tables::default(),
            settings,
            generations: Generations::default(),
            topic_id: OnceCell::new(),
            counters: counters(&context.metrics),
        });
        events::follow_streams(&context.tasks, &control, Arc::clone(&app))?;
        let sink = run::run(Arc::clone(&app), consumer, context.tasks.stopping());
        context.tasks.spawn("sink", Policy::EndProcess, async move { Ok(sink.await?) });
        Ok(Surface { http: api::router(api::Handlers { app, lag }), flight: None })
    }
}

fn counters(metrics: &Metrics) -> Counters {
    let rows = metrics.counter("sink_rows_committed", "Rows committed to tables");
    let letters = metrics.counter("sink_dead_letters", "Records given up into the dead letters");
    let seconds = metrics.histogram(
        "sink_commit_seconds",
        "From the reading of a round's oldest row to its commit",
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
    }
}
