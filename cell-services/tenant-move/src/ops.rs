//! What a move asks of a cell.

pub mod give;
pub mod objects;
pub mod promises;
pub mod take;

use std::collections::HashMap;
use std::sync::Arc;

use contracts::services::{SERVICES, ServiceDeclaration};
use contracts::{CellId, TenantId};
use http::Method;
use kit::peers::{PeerHttp, Peers};
use lakehouse::Bucket;
use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

use crate::error::Error;
use crate::ops::promises::Promises;

/// Objects that are copied or deleted at the same time while nobody waits for it: the bucket is there for those who do.
const IN_THE_BACKGROUND: usize = 2;

/// This cell's side of every move.
pub struct Mover {
    pub cell: CellId,
    pub bucket: Bucket,
    pub peers: Peers,
    pub promises: Promises,
    /// Who brings or takes away a tenant's data is alone with it.
    pub busy: Mutex<HashMap<TenantId, Arc<tokio::sync::Mutex<()>>>>,
}

impl Mover {
    async fn alone(&self, tenant: &TenantId) -> OwnedMutexGuard<()> {
        let lock = Arc::clone(self.busy.lock().entry(tenant.clone()).or_default());
        lock.lock_owned().await
    }
}

/// Services that keep rows of tenants.
fn keepers() -> impl Iterator<Item = &'static ServiceDeclaration> {
    SERVICES.iter().filter(|service| service.database)
}

/// Asks a peer and passes on nothing but success.
async fn ask(
    who: &str,
    what: &'static str,
    peer: &PeerHttp,
    method: Method,
    path: &str,
    body: Option<reqwest::Body>,
) -> Result<reqwest::Response, Error> {
    let mut request = peer.plain(method, path);
    if let Some(body) = body {
        request = request.header(http::header::CONTENT_TYPE, "application/json").body(body);
    }
    let failed = || Error::Peer { who: who.to_owned(), what };
    let response = request.send().await.map_err(|error| {
        tracing::warn!(who, what, error = %kit::fault::chain(&error), "a peer does not answer");
        failed()
    })?;
    if response.status().is_success() {
        return Ok(response);
    }
    let status = response.status().as_u16();
    let said = response.text().await.unwrap_or_default();
    tracing::warn!(who, what, status, said, "a peer refuses");
    Err(failed())
}
