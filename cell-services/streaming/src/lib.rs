//! Streams: a schema, rows pushed in batches onto the data bus, and a live view of them.
//!
//! A row is accepted when every in-sync replica has it. Rows reach their table by the sink, another
//! service, which asks this one for schemas.

mod api;
mod config;
mod domain;
mod error;
mod events;
mod ops;
mod store;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use contracts::services::{self, ServiceDeclaration};
use event_bus_control::ControlBus;
use event_bus_data::DataBus;
use kit::moving::TenantTable;
use kit::retention::Retention;
use kit::service::{Context, Service, StartError, Surface};

use crate::config::Settings;
use crate::ops::tail::Tails;
use crate::ops::{App, Counters};

struct Streaming;

pub fn service() -> Box<dyn Service> {
    Box::new(Streaming)
}

#[async_trait]
impl Service for Streaming {
    fn declaration(&self) -> &'static ServiceDeclaration {
        services::declared(services::STREAMING)
    }

    fn migrator(&self) -> Option<sqlx::migrate::Migrator> {
        Some(sqlx::migrate!())
    }

    fn tenant_tables(&self) -> &'static [TenantTable] {
        const { &[TenantTable::rows("streams"), TenantTable::rows("stream_schemas"), TenantTable::rows("batches")] }
    }

    fn openapi(&self) -> utoipa::openapi::OpenApi {
        api::describe()
    }

    async fn start(&self, context: Context) -> Result<Surface, StartError> {
        let settings: Settings = context.settings()?;
        let database = context.database()?;
        let bus = DataBus::connect(&context.kafka, services::STREAMING)?;
        let control = ControlBus::connect(&context.nats, services::STREAMING).await?.watched(context.deliveries());
        context.relay(bus.clone())?;
        context.relay(control.clone())?;
        events::follow_sink(&context.tasks, &control, database.clone())?;
        context.settling.add(control);
        let kept = Duration::from_secs(3600 * u64::from(settings.batch_memory_hours));
        Retention { table: "batches", aged_by: "claimed_at", kept }.start(&context.tasks, &database);
        let accepted = context.metrics.counter("streaming_rows_accepted", "Rows acknowledged by the data bus");
        let rejected = context.metrics.counter("streaming_rows_rejected", "Rows refused by their stream's schema");
        let acknowledged = context.metrics.latency(
            "streaming_ack_duration_seconds",
            "From a batch's last row sent to every row acknowledged by the data bus",
        );
        let app = App {
            cell: context.cell.clone(),
            database,
            bus,
            tasks: context.tasks.clone(),
            placements: Arc::clone(&context.placements),
            tails: Tails::new(settings.tails_per_tenant, settings.tails),
            counters: Counters {
                accepted: Box::new(move |rows| {
                    accepted.inc_by(rows);
                }),
                rejected: Box::new(move |rows| {
                    rejected.inc_by(rows);
                }),
                acknowledged: Box::new(move |seconds| acknowledged.observe(seconds)),
            },
            tracer: context.tracer.clone(),
            settings,
        };
        Ok(Surface { http: api::router(Arc::new(app)), flight: None })
    }
}
