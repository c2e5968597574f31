//! The audit log of a cell: append-only, one hash chain per tenant.

mod api;
mod domain;
mod error;
mod events;
mod ops;
mod store;
#[cfg(test)]
mod tests;

use async_trait::async_trait;
use contracts::services::{self, AUDIT, ServiceDeclaration};
use event_bus_data::DataBus;
use kit::moving::TenantTable;
use kit::service::{Context, Service, StartError, Surface};

const DECLARATION: &ServiceDeclaration = services::declared(AUDIT);

struct Audit;

pub fn service() -> Box<dyn Service> {
    Box::new(Audit)
}

#[async_trait]
impl Service for Audit {
    fn declaration(&self) -> &'static ServiceDeclaration {
        DECLARATION
    }

    fn migrator(&self) -> Option<sqlx::migrate::Migrator> {
        Some(sqlx::migrate!())
    }

    fn tenant_tables(&self) -> &'static [TenantTable] {
        const { &[TenantTable::kept("audit_entry", "seq"), TenantTable::rows("audit_chain")] }
    }

    fn openapi(&self) -> utoipa::openapi::OpenApi {
        api::describe()
    }

    async fn start(&self, context: Context) -> Result<Surface, StartError> {
        let database = context.database()?;
        let bus = DataBus::connect(&context.kafka, AUDIT)?.watched(context.deliveries());
        events::start(&context.tasks, &bus, &database)?;
        context.settling.add(bus);
        let (http, _) = api::routes().with_state(database).split_for_parts();
        Ok(Surface { http, flight: None })
    }
}
