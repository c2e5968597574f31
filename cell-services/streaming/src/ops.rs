//! Use cases.

mod batch_key;
pub mod records;
pub mod rows;
pub mod streams;
pub mod tail;

use std::sync::Arc;

use contracts::events::{AUDIT_ENTRY_RECORDED, AuditEntryRecorded};
use contracts::{CellId, Rid, services};
use event_bus_data::DataBus;
use kit::database::{Database, DatabaseError, Tx};
use kit::placements::Placements;
use kit::tasks::Tasks;
use kit::{Scope, outbox};
use trace::Tracer;
use uuid::Uuid;

use crate::config::Settings;
use crate::ops::tail::Tails;

/// What the use cases need.
pub struct App {
    pub cell: CellId,
    pub database: Database,
    pub bus: DataBus,
    pub tasks: Tasks,
    pub settings: Settings,
    pub tails: Tails,
    /// A tail ends when its tenant has left the cell.
    pub placements: Arc<Placements>,
    pub counters: Counters,
    pub tracer: Tracer,
}

pub struct Counters {
    pub accepted: Box<dyn Fn(u64) + Send + Sync>,
    pub rejected: Box<dyn Fn(u64) + Send + Sync>,
    /// Seconds from a batch's last row sent to every row acknowledged.
    pub acknowledged: Box<dyn Fn(f64) + Send + Sync>,
}

impl App {
    pub fn rid(&self, id: Uuid) -> String {
        Rid { service: services::STREAMING.to_owned(), cell: self.cell.clone(), kind: "stream".to_owned(), id }
            .to_string()
    }

    /// Who emits our lineage and records.
    pub fn producer(&self) -> String {
        format!("https://cytoplane.dev/{}", services::STREAMING)
    }

    /// OpenLineage namespace of this service's jobs.
    pub fn job_namespace(&self, scope: &Scope) -> String {
        format!("cytoplane://{}/{}", self.cell, scope.tenant)
    }

    async fn audit(
        &self,
        tx: &mut Tx,
        scope: &Scope,
        action: &str,
        id: Uuid,
        status: u16,
    ) -> Result<(), DatabaseError> {
        let entry = AuditEntryRecorded {
            request_id: scope.request_id.clone(),
            actor: scope.actor.to_string(),
            action: action.to_owned(),
            resource: self.rid(id),
            outcome: "allowed".to_owned(),
            status,
            detail: None,
        };
        outbox::put(tx, scope, AUDIT_ENTRY_RECORDED, &scope.request_id, Uuid::now_v7(), &entry).await
    }
}
