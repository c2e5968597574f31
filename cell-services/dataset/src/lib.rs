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
use kit::outbox;
use kit::service::{Context, Service, StartError, Surface};
use lakehouse::{Bucket, Catalog};
use tokio::sync::Semaphore;

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

    fn openapi(&self) -> utoipa::openapi::OpenApi {
        api::describe()
    }

    async fn start(&self, context: Context) -> Result<Surface, StartError> {
        let settings: Settings = context.settings()?;
        settings.validate().map_err(|error| StartError::new("the settings cannot be used", error))?;
        let database = context.database()?;
        let bus =
            DataBus::connect(&context.kafka, DATASET).map_err(|e| StartError::new("the data bus cannot be used", e))?;
        outbox::relay(&context.tasks, database.clone(), Arc::new(bus));
        let bucket = Bucket::connect(&context.bucket).map_err(|e| StartError::new("the bucket cannot be used", e))?;
        let peer =
            context.peers.http(ICEBERG_CATALOG).map_err(|e| StartError::new("the catalog cannot be called", e))?;
        let app = Arc::new(App {
            cell: context.cell.clone(),
            database,
            bucket,
            catalog: Catalog::new(peer),
            tasks: context.tasks.clone(),
            conversions: Arc::new(Semaphore::new(settings.conversions)),
            settings,
        });
        jobs::start(&context.tasks, Arc::clone(&app), Arc::clone(&context.placements));
        let (http, _) = api::routes().with_state(app).split_for_parts();
        Ok(Surface { http, flight: None })
    }
}
