//! Datasets: named tables that files are uploaded into, one transaction at a time.

mod api;
mod config;
mod domain;
mod error;
mod events;
mod intake;
mod jobs;
mod ops;
mod store;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use contracts::services::{self, DATASET, ICEBERG_CATALOG, ServiceDeclaration};
use event_bus_data::DataBus;
use kit::moving::TenantTable;
use kit::service::{Context, Service, StartError, Surface};
use kit::turns::Turns;
use lakehouse::{Bucket, Catalog};

use crate::config::Settings;
use crate::ops::App;

const DECLARATION: &ServiceDeclaration = services::declared(DATASET);

struct Datasets;

pub fn service() -> Box<dyn Service> {
    Box::new(Datasets)
}

#[async_trait]
impl Service for Datasets {
    fn declaration(&self) -> &'static ServiceDeclaration {
        DECLARATION
    }

    fn migrator(&self) -> Option<sqlx::migrate::Migrator> {
        Some(sqlx::migrate!())
    }

    fn tenant_tables(&self) -> &'static [TenantTable] {
        const { &[TenantTable::rows("dataset"), TenantTable::rows("dataset_transaction"), TenantTable::rows("dataset_file")] }
    }

    fn openapi(&self) -> utoipa::openapi::OpenApi {
        api::describe()
    }

    async fn start(&self, context: Context) -> Result<Surface, StartError> {
        let settings: Settings = context.settings()?;
        context.relay(DataBus::connect(&context.kafka, DATASET)?)?;
        let app = Arc::new(App {
            cell: context.cell.clone(),
            database: context.database()?,
            bucket: Bucket::connect(&context.bucket)?,
            catalog: Catalog::new(context.peers.http(ICEBERG_CATALOG)?),
            tasks: context.tasks.clone(),
            conversions: Turns::new(settings.places()),
            settings,
        });
        jobs::start(&context.tasks, Arc::clone(&app), Arc::clone(&context.placements));
        let (http, _) = api::routes().with_state(app).split_for_parts();
        Ok(Surface { http, flight: None })
    }
}
