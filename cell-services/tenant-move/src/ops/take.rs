//! The cell that a tenant comes to.

use std::collections::HashMap;
use std::net::SocketAddr;

use contracts::services::{self, TENANT_MOVE};
use contracts::{CellId, Generation, TenantId};
use futures::{StreamExt, TryStreamExt};
use http::Method;
use kit::moving::{Kept, Part};
use kit::peers::PeerHttp;
use lakehouse::TenantBucket;
use serde::{Deserialize, Serialize};

use super::objects::{Line, Listed, list};
use super::{IN_THE_BACKGROUND, Mover, ask, keepers};
use crate::error::Error;

/// Objects on their way at the same time, while their tenant waits for them.
const AT_ONCE: usize = 8;

/// Where a tenant comes from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Origin {
    pub cell: CellId,
    /// Of the cell; its `tenant-move` listens there.
    pub address: std::net::IpAddr,
}

/// What one pass has brought.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Copied {
    pub objects: u64,
}

impl Mover {
    fn origin(&self, from: &Origin) -> Result<PeerHttp, Error> {
        let address = SocketAddr::new(from.address, services::declared(TENANT_MOVE).http_port);
        Ok(self.peers.elsewhere(&from.cell, TENANT_MOVE, address)?)
    }

    /// Copies the objects that are not here. An object never changes: one of the same length is the same. None is taken
    /// away, because this may come late: what nobody names is swept where it lies. Rows that are kept come too, at the
    /// generation at which the tenant is where it comes from: they never change either.
    pub async fn copy(&self, tenant: &TenantId, from: &Origin, generation: Generation) -> Result<Copied, Error> {
        let _alone = self.alone(tenant).await;
        let copied = self.copy_alone(tenant, from, IN_THE_BACKGROUND).await?;
        self.bring_rows(tenant, from, generation, Part::Kept).await?;
        Ok(copied)
    }

    async fn copy_alone(&self, tenant: &TenantId, from: &Origin, at_once: usize) -> Result<Copied, Error> {
        let (origin, folder) = (self.origin(from)?, self.folder(tenant));
        let there = listed(&origin, &from.cell, tenant).await?;
        let here: Vec<Listed> = list(&folder).try_collect().await?;
        let here: HashMap<String, u64> = here.into_iter().map(|object| (object.path, object.bytes)).collect();
        let missing = there.into_iter().filter(|object| here.get(&object.path) != Some(&object.bytes));
        let copies = missing.map(|object| copy_one(&origin, from, tenant, &folder, object));
        let copied: Vec<()> = futures::stream::iter(copies).buffer_unordered(at_once).try_collect().await?;
        Ok(Copied { objects: copied.len() as u64 })
    }

    /// Brings what is left: the rest of the objects, and the rows of every service, which stand at `generation` then.
    pub async fn carry(&self, tenant: &TenantId, from: &Origin, generation: Generation) -> Result<Copied, Error> {
        let _alone = self.alone(tenant).await;
        let rows = self.bring_rows(tenant, from, generation, Part::All);
        let (copied, ()) = tokio::try_join!(self.copy_alone(tenant, from, AT_ONCE), rows)?;
        Ok(copied)
    }

    /// From every service of the one cell to the same of the other.
    async fn bring_rows(
        &self,
        tenant: &TenantId,
        from: &Origin,
        generation: Generation,
        part: Part,
    ) -> Result<(), Error> {
        let origin = self.origin(from)?;
        let origin = &origin;
        let all = keepers().map(|service| async move {
            let peer = self.peers.http(service.name)?;
            let known = known(tenant, service.name, &peer).await?;
            if part == Part::Kept && known.is_empty() {
                return Ok(());
            }
            let path = format!("/internal/v1/moves/{tenant}/rows/{}?{}", service.name, wanted(part, &known));
            let rows = ask(from.cell.as_str(), "give the rows", origin, Method::GET, &path, None).await?;
            let path = format!("/internal/v1/moving/{tenant}/rows?generation={generation}&part={}", part.name());
            let body = reqwest::Body::wrap_stream(rows.bytes_stream());
            ask(service.name, "take the rows in", &peer, Method::PUT, &path, Some(body)).await.map(drop)
        });
        futures::future::try_join_all(all).await.map(drop)
    }
}

/// What the service here has of its tables whose rows are kept.
async fn known(tenant: &TenantId, service: &str, peer: &PeerHttp) -> Result<Kept, Error> {
    let path = format!("/internal/v1/moving/{tenant}/kept");
    let answer = ask(service, "say what it has", peer, Method::GET, &path, None).await?;
    answer.json().await.map_err(|_| Error::Peer { who: service.to_owned(), what: "say what it has" })
}

/// The query for what it has not.
fn wanted(part: Part, known: &Kept) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("part", part.name()).append_pair("known", &serde_json::json!(known).to_string()).finish()
}

async fn listed(origin: &PeerHttp, cell: &CellId, tenant: &TenantId) -> Result<Vec<Listed>, Error> {
    let path = format!("/internal/v1/moves/{tenant}/objects");
    let answer = ask(cell.as_str(), "list its objects", origin, Method::GET, &path, None).await?;
    let broken = || Error::Peer { who: cell.to_string(), what: "list its objects to the end" };
    let text = answer.text().await.map_err(|_| broken())?;
    let mut listed = Vec::new();
    for line in text.lines() {
        match serde_json::from_str(line).map_err(|_| broken())? {
            Line::Object(object) => listed.push(object),
            Line::End => return Ok(listed),
        }
    }
    Err(broken())
}

async fn copy_one(
    origin: &PeerHttp,
    from: &Origin,
    tenant: &TenantId,
    folder: &TenantBucket,
    object: Listed,
) -> Result<(), Error> {
    let path = format!("/internal/v1/moves/{tenant}/object");
    let wanted = serde_json::json!({ "path": object.path }).to_string();
    // One that was deleted since it was listed ends this pass; the next lists it no more.
    let answer = ask(from.cell.as_str(), "give an object", origin, Method::POST, &path, Some(wanted.into())).await?;
    let bytes = folder.upload(&folder.location(&object.path), answer.bytes_stream().boxed()).await?;
    if bytes == object.bytes { Ok(()) } else { Err(Error::Object) }
}
