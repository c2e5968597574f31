//! The cell that a tenant leaves.

use contracts::services::{GATEWAY, SERVICES};
use contracts::{Generation, TenantId};
use futures::future::try_join_all;
use http::Method;
use kit::moving::Round;

use super::{Mover, ask, keepers};
use crate::error::Error;

impl Mover {
    /// Returns when the entry lets nothing of the tenant in, and its changes are over.
    pub async fn close(&self, tenant: &TenantId) -> Result<(), Error> {
        self.settled(GATEWAY, tenant, Round::First).await
    }

    /// From now on no service stores anything of the tenant's at an older generation.
    pub async fn fence(&self, tenant: &TenantId, generation: Generation) -> Result<(), Error> {
        let path = format!("/internal/v1/moving/{tenant}/fence?generation={generation}");
        try_join_all(keepers().map(|service| async {
            let peer = self.peers.http(service.name)?;
            ask(service.name, "fence the tenant", &peer, Method::PUT, &path, None).await.map(drop)
        }))
        .await
        .map(drop)
    }

    /// One round over all services: what one of them has left for another may need the next round, which is asked for
    /// with [`Round::Next`].
    pub async fn settle(&self, tenant: &TenantId, round: Round) -> Result<(), Error> {
        let others = SERVICES.iter().filter(|service| service.name != contracts::services::TENANT_MOVE);
        try_join_all(others.map(|service| self.settled(service.name, tenant, round))).await.map(drop)
    }

    async fn settled(&self, service: &'static str, tenant: &TenantId, round: Round) -> Result<(), Error> {
        let peer = self.peers.http(service)?;
        let path = format!("/internal/v1/moving/{tenant}/settled?round={}", round.name());
        ask(service, "settle", &peer, Method::POST, &path, None).await.map(drop)
    }

    /// The rows of one service, on their way to the cell that takes them. `wanted` is a query for the service.
    pub async fn rows(&self, tenant: &TenantId, service: &str, wanted: &str) -> Result<reqwest::Response, Error> {
        let keeper = keepers().find(|keeper| keeper.name == service).ok_or(Error::NoService)?;
        let peer = self.peers.http(keeper.name)?;
        let path = format!("/internal/v1/moving/{tenant}/rows?{wanted}");
        ask(keeper.name, "give its rows", &peer, Method::GET, &path, None).await
    }

    /// Takes everything of the tenant away, rows first: where somebody newer has been since, they refuse, and the objects
    /// stay.
    pub async fn clean(&self, tenant: &TenantId, generation: Generation) -> Result<u64, Error> {
        let _alone = self.alone(tenant).await;
        let path = format!("/internal/v1/moving/{tenant}/rows?generation={generation}");
        for service in keepers() {
            let peer = self.peers.http(service.name)?;
            ask(service.name, "clear its rows", &peer, Method::DELETE, &path, None).await?;
        }
        let objects = self.empty(tenant).await?;
        self.promises.take_back(tenant);
        Ok(objects)
    }
}
