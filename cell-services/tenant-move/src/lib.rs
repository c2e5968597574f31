//! A cell's side of a move: gives away a tenant that leaves, takes in one that comes.
//!
//! Invariants: it gives a tenant to the one cell that tenancy has named, and to nobody before; it keeps nothing, so
//! that every step can be asked for again; it reads no table itself, only what services take out and put in.

mod api;
mod error;
mod ops;

use std::sync::Arc;

use async_trait::async_trait;
use contracts::services::{self, ServiceDeclaration, TENANT_MOVE};
use kit::service::{Context, Service, StartError, Surface};
use lakehouse::Bucket;

use crate::ops::Mover;
use crate::ops::promises::Promises;

const DECLARATION: &ServiceDeclaration = services::declared(TENANT_MOVE);

struct TenantMove;

pub fn service() -> Box<dyn Service> {
    Box::new(TenantMove)
}

#[async_trait]
impl Service for TenantMove {
    fn declaration(&self) -> &'static ServiceDeclaration {
        DECLARATION
    }

    fn openapi(&self) -> utoipa::openapi::OpenApi {
        api::describe()
    }

    async fn start(&self, context: Context) -> Result<Surface, StartError> {
        let mover = Mover {
            cell: context.cell.clone(),
            bucket: Bucket::connect(&context.bucket)?,
            peers: context.peers.clone(),
            promises: Promises::default(),
            busy: parking_lot::Mutex::default(),
        };
        Ok(Surface { http: api::router(Arc::new(mover)), flight: None })
    }
}
