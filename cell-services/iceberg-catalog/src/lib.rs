//! The Iceberg REST catalog of a cell: which tables a tenant has and which metadata is current.

mod api;
mod config;
mod domain;
mod error;
mod events;
mod jobs;
mod ops;
mod store;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use contracts::services::{self, ICEBERG_CATALOG, ServiceDeclaration};
use event_bus_control::ControlBus;
use event_bus_data::DataBus;
use kit::moving::TenantTable;
use kit::retention::Retention;
use kit::service::{Context, Service, StartError, Surface};
use lakehouse::Bucket;

use crate::config::Settings;
use crate::ops::Catalog;

struct IcebergCatalog;

pub fn service() -> Box<dyn Service> {
    Box::new(IcebergCatalog)
}

#[async_trait]
impl Service for IcebergCatalog {
    fn declaration(&self) -> &'static ServiceDeclaration {
        services::declared(ICEBERG_CATALOG)
    }

    fn migrator(&self) -> Option<sqlx::migrate::Migrator> {
        Some(sqlx::migrate!())
    }

    fn tenant_tables(&self) -> &'static [TenantTable] {
        const { &[TenantTable::rows("namespaces"), TenantTable::rows("tables"), TenantTable::rows("idempotency")] }
    }

    fn openapi(&self) -> utoipa::openapi::OpenApi {
        api::openapi()
    }

    async fn start(&self, context: Context) -> Result<Surface, StartError> {
        let settings: Settings = context.settings()?;
        let database = context.database()?;
        let bucket = Bucket::connect(&context.bucket)?;
        bucket.probe().await?;
        context.relay(ControlBus::connect(&context.nats, ICEBERG_CATALOG).await?)?;
        context.relay(DataBus::connect(&context.kafka, ICEBERG_CATALOG)?)?;
        let kept = Duration::from_secs(3600 * u64::from(settings.idempotency_hours));
        Retention { table: "idempotency", aged_by: "created_at", kept }.start(&context.tasks, &database);
        if context.bucket.role_arn.is_none() {
            tracing::warn!("the bucket names no role to assume: clients outside the cell get no credentials");
        }
        let catalog = Catalog::new(database.clone(), bucket, &context.bucket, settings, &context.metrics)?;
        let catalog = Arc::new(catalog);
        jobs::collect_orphans(&context.tasks, &database, &catalog, &context.placements);
        Ok(Surface { http: api::router(catalog), flight: None })
    }
}
