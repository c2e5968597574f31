//! The SQL edge of a cell: Flight SQL for BI tools, NDJSON for scripts.

mod api;
mod config;
mod domain;
mod error;
mod events;
mod limits;
mod measured;
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
use kit::moving::TenantTable;
use kit::service::{Context, Service, StartError, Surface};
use lakehouse::{Bucket, Catalog};
use query_engine::Engine;
use query_engine::flight::{EngineBackend, FlightSqlServer, Tickets};
use query_engine::iceberg::{Lake, LakeOutline};

use crate::config::Settings;
use crate::events::Recorder;
use crate::limits::TenantLimits;
use crate::measured::Statements;
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

    fn tenant_tables(&self) -> &'static [TenantTable] {
        const { &[TenantTable::rows("statement")] }
    }

    fn openapi(&self) -> utoipa::openapi::OpenApi {
        api::describe()
    }

    async fn start(&self, context: Context) -> Result<Surface, StartError> {
        let mut settings: Settings = context.settings()?;
        settings.limits.spill_folder.get_or_insert_with(|| context.data_dir.join("spill"));
        let database = context.database()?;
        context.relay(DataBus::connect(&context.kafka, SQL_BI_GATEWAY)?)?;
        store::retention(settings.history_days).start(&context.tasks, &database);
        let tickets = Tickets::new(context.sealer()?);
        let edge = Arc::new(Edge {
            admission: context.admission()?,
            engine: engine(&context, &settings)?,
            tickets: tickets.clone(),
            pool: context.peers.channel(SQL_WAREHOUSING)?,
            recorder: Recorder::start(
                &context.tasks,
                database.clone(),
                settings.backlog,
                Statements::new(&context.metrics),
            ),
            database,
            limits: TenantLimits::new(&settings),
        });
        let server = FlightSqlServer::new(Arc::clone(&edge), tickets, settings.limits)?;
        let flight = tonic::service::Routes::new(server.into_service()).into_axum_router();
        let (http, _) = api::routes().with_state(edge).split_for_parts();
        Ok(Surface { http, flight: Some(flight) })
    }
}

/// Binds statements against the tables' columns; it never opens a file.
fn engine(context: &Context, settings: &Settings) -> Result<EngineBackend, StartError> {
    let catalog = Catalog::new(context.peers.http(ICEBERG_CATALOG)?);
    let outline = LakeOutline::new(Arc::new(Lake::new(SQL_BI_GATEWAY, catalog, Bucket::connect(&context.bucket)?)));
    Ok(EngineBackend(Arc::new(Engine::new(Arc::new(outline), settings.limits.clone())?)))
}
