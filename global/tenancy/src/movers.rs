//! The way to the cells' `tenant-move`, over mTLS.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use async_trait::async_trait;
use contracts::services::{self, TENANT_MOVE};
use contracts::{CellId, TenantId};
use http::Method;
use kit::peers::PeerHttp;
use kit::tls::{Identity, server_name};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::json;
use sqlx::PgPool;

use crate::leading::{Cells, Refused, Request};
use crate::store;

/// Knows where the cells are from the registry itself.
pub struct Movers {
    identity: Identity,
    pool: PgPool,
    clients: Mutex<HashMap<SocketAddr, PeerHttp>>,
}

#[derive(Deserialize)]
struct Brought {
    objects: u64,
}

impl Movers {
    pub fn new(identity: Identity, pool: PgPool) -> Self {
        Self { identity, pool, clients: Mutex::default() }
    }

    async fn address(&self, cell: &CellId) -> Result<IpAddr, Refused> {
        let found = async {
            let mut db = self.pool.acquire().await?;
            store::cells::lock(&mut db, cell.as_str()).await
        };
        let found = found.await.map_err(|error| Refused(error.to_string()))?;
        let found = found.ok_or_else(|| Refused("the cell is not registered".to_owned()))?;
        let nowhere = || Refused("the cell has no address".to_owned());
        let mut found = tokio::net::lookup_host(&*found.http).await.map_err(|_| nowhere())?;
        found.next().map(|address| address.ip()).ok_or_else(nowhere)
    }

    async fn client(&self, cell: &CellId) -> Result<PeerHttp, Refused> {
        let address = SocketAddr::new(self.address(cell).await?, services::declared(TENANT_MOVE).http_port);
        if let Some(client) = self.clients.lock().get(&address) {
            return Ok(client.clone());
        }
        let name = server_name(cell.as_str(), TENANT_MOVE);
        let client = PeerHttp::new(&self.identity, &name, address).map_err(|error| Refused(error.to_string()))?;
        self.clients.lock().insert(address, client.clone());
        Ok(client)
    }
}

#[async_trait]
impl Cells for Movers {
    async fn ask(&self, cell: &CellId, tenant: &TenantId, request: Request) -> Result<u64, Refused> {
        let brings = matches!(request, Request::Copy { .. } | Request::Carry { .. });
        let (method, what, body) = match request {
            Request::Promise { to } => (Method::PUT, "promise".to_owned(), Some(json!({ "to": to }))),
            Request::Copy { from, generation } => {
                (Method::POST, format!("copy?generation={generation}"), Some(self.origin(from).await?))
            }
            Request::Close => (Method::POST, "close".to_owned(), None),
            Request::Fence { generation } => (Method::POST, format!("fence?generation={generation}"), None),
            Request::Settle { round } => (Method::POST, format!("settle?round={}", round.name()), None),
            Request::Carry { from, generation } => {
                (Method::POST, format!("carry?generation={generation}"), Some(self.origin(from).await?))
            }
            Request::Clean { generation } => (Method::POST, format!("clean?generation={generation}"), None),
        };
        let mut call = self.client(cell).await?.plain(method, &format!("/internal/v1/moves/{tenant}/{what}"));
        if let Some(body) = body {
            call = call.json(&body);
        }
        let answer = call.send().await.map_err(|error| Refused(kit::fault::chain(&error).to_string()))?;
        let status = answer.status();
        if !status.is_success() {
            let said = answer.text().await.unwrap_or_default();
            return Err(Refused(format!("{what} is answered {status}: {said}")));
        }
        if !brings {
            return Ok(0);
        }
        let brought: Brought = answer.json().await.map_err(|error| Refused(error.to_string()))?;
        Ok(brought.objects)
    }
}

impl Movers {
    async fn origin(&self, cell: CellId) -> Result<serde_json::Value, Refused> {
        let address = self.address(&cell).await?;
        Ok(json!({ "cell": cell, "address": address }))
    }
}
