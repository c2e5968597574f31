//! The HTTP entry of a cell.
//!
//! Every request is admitted again (token, tenant, placement, generation), measured against its
//! tenant's limits, recorded if it changes something or is refused, and streamed to the service
//! its path leads to. Only the router may connect.

mod api;
mod config;
mod domain;
mod error;
mod events;
mod limits;
mod openapi;
mod proxy;
mod socket;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use contracts::services::{self, ServiceDeclaration};
use event_bus_data::DataBus;
use kit::moving::UnderWay;
use kit::service::{Context, Service, StartError, Surface};

use crate::config::Settings;

const DECLARATION: &ServiceDeclaration = services::declared(services::GATEWAY);

struct Gateway;

pub fn service() -> Box<dyn Service> {
    Box::new(Gateway)
}

#[async_trait]
impl Service for Gateway {
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
        let origins = settings.origins()?;
        context.relay(DataBus::connect(&context.kafka, services::GATEWAY)?)?;
        let late = context.metrics.counter("gateway_audit_late", "Audit entries that had to wait for the database");
        let recorder = events::Recorder::start(&context.tasks, context.database()?, settings.audit_backlog, late);
        let admission = context.admission()?;
        let under_way = UnderWay::new(Arc::clone(&admission.placements));
        context.settling.add(Arc::clone(&under_way));
        let entry = api::Entry {
            cell: context.cell.clone(),
            admission,
            under_way,
            peers: context.peers.clone(),
            limits: limits::Limits::new(&settings),
            refusals: limits::RefusalSampler::new(&settings),
            recorder,
            documents: openapi::Documents::new(api::describe()),
            settings,
        };
        Ok(Surface { http: api::router(Arc::new(entry), origins), flight: None })
    }
}
