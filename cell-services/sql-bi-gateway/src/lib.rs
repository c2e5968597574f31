//! The SQL edge of a cell: Flight SQL for BI tools, NDJSON for scripts.

mod api;
mod config;
mod domain;
mod error;
mod events;
mod jobs;
mod limits;
mod ops;
mod recorded;
mod rows;
mod store;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use contracts::services::{self, ICEBERG_CATALOG, SQL_BI_GATEWAY, SQL_WAREHOUSING, ServiceDeclaration};
use event_bus_data::DataBus;
use kit::outbox;
use kit::seal::Sealer;
use kit::service::{Context, Service, StartError, Surface};
use lakehouse::{Bucket, Catalog};
use query_engine::Engine;
use query_engine::flight::{EngineBackend, FlightSqlServer, Tickets};
use query_engine::iceberg::{Lake, LakeOutline};

use crate::config::Settings;
use crate::events::Recorder;
use crate::limits::TenantLimits;
use crate::ops::Edge;

const DECLARATION: &ServiceDeclaration = services::declared(SQL_BI_GATEWAY);

struct SqlEdge;

pub fn service() -> Box<dyn Service> {
    Box::new(SqlEdge)
}

#[async_trait]
impl Service for SqlEdge {
    fn declaration(&self) -> &'static ServiceDeclaration {
        DECLARATION
    }

    fn migrator(&self) -> Option<sqlx::migrate::Migrator> {
        Some(sqlx::migrate!())
    }

    fn openapi(&self) -> utoipa::openapi::OpenApi {
        api::describe()
    }

    async fn start(&self, context: Context) -> Result<Surface, StartError> {
        let mut settings: Settings = context.settings()?;
        settings.validate().map_err(|error| StartError::new("the settings cannot be used", error))?;
        settings.limits.spill_folder.get_or_insert_with(|| context.data_dir.join("spill"));
        let database = context.database()?;
        let bus = DataBus::connect(&context.kafka, SQL_BI_GATEWAY)
            .map_err(|e| StartError::new("the data bus cannot be used", e))?;
        outbox::relay(&context.tasks, database.clone(), Arc::new(bus));
        jobs::start(&context.tasks, database.clone(), settings.history_days);
        let tickets = Tickets::new(
            Sealer::new(&context.seal_key).map_err(|e| StartError::new("the seal key cannot be used", e))?,
        );
        let edge = Arc::new(Edge {
            admission: context.admission()?,
            engine: engine(&context, &settings)?,
            tickets: tickets.clone(),
            pool: context
                .peers
                .channel(SQL_WAREHOUSING)
                .map_err(|e| StartError::new("the pool cannot be called", e))?,
            recorder: Recorder::start(&context.tasks, database.clone(), settings.backlog),
            database,
            limits: TenantLimits::new(&settings),
        });
        let server = FlightSqlServer::new(Arc::clone(&edge), tickets, settings.limits)
            .map_err(|e| StartError::new("the Flight SQL server cannot start", e))?;
        let flight = tonic::service::Routes::new(server.into_service()).into_axum_router();
        let (http, _) = api::routes().with_state(edge).split_for_parts();
        Ok(Surface { http, flight: Some(flight) })
    }
}

/// Binds statements against the tables' columns; it never opens a file.
fn engine(context: &Context, settings: &Settings) -> Result<EngineBackend, StartError> {
    let bucket = Bucket::connect(&context.bucket).map_err(|e| StartError::new("the bucket cannot be used", e))?;
    let peer = context.peers.http(ICEBERG_CATALOG).map_err(|e| StartError::new("the catalog cannot be called", e))?;
    let outline = LakeOutline::new(Arc::new(Lake::new(SQL_BI_GATEWAY, Catalog::new(peer), bucket)));
    let engine = Engine::new(Arc::new(outline), settings.limits.clone())
        .map_err(|e| StartError::new("the engine cannot start", e))?;
    Ok(EngineBackend(Arc::new(engine)))
}
