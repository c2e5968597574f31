//! The compute pool: SQL over the cell's Iceberg tables, for the cell's own services.

mod api;
mod config;
mod error;
mod ops;

use std::sync::Arc;

use async_trait::async_trait;
use contracts::services::{self, ICEBERG_CATALOG, SQL_WAREHOUSING, ServiceDeclaration};
use kit::service::{Context, Service, StartError, Surface};
use lakehouse::{Bucket, Catalog};
use query_engine::Engine;
use query_engine::flight::{EngineBackend, FlightSqlServer, Tickets};
use query_engine::iceberg::Lake;

use crate::config::Settings;
use crate::ops::Pool;

const DECLARATION: &ServiceDeclaration = services::declared(SQL_WAREHOUSING);

struct Warehousing;

pub fn service() -> Box<dyn Service> {
    Box::new(Warehousing)
}

#[async_trait]
impl Service for Warehousing {
    fn declaration(&self) -> &'static ServiceDeclaration {
        DECLARATION
    }

    fn openapi(&self) -> utoipa::openapi::OpenApi {
        api::describe()
    }

    async fn start(&self, context: Context) -> Result<Surface, StartError> {
        let mut settings: Settings = context.settings()?;
        settings.limits.spill_folder.get_or_insert_with(|| context.data_dir.join("spill"));
        let catalog = Catalog::new(context.peers.http(ICEBERG_CATALOG)?);
        let lake = Lake::new(SQL_WAREHOUSING, catalog, Bucket::connect(&context.bucket)?);
        let lake = Arc::new(lake.keeping(settings.kept_bytes));
        let engine = Engine::new(lake, settings.limits.clone())?;
        let pool = Arc::new(Pool::new(EngineBackend(Arc::new(engine)), settings.clone()));
        let server = FlightSqlServer::new(Arc::clone(&pool), Tickets::new(context.sealer()?), settings.limits)?;
        let flight = tonic::service::Routes::new(server.into_service()).into_axum_router();
        let (http, _) = api::routes().with_state(pool).split_for_parts();
        Ok(Surface { http, flight: Some(flight) })
    }
}
