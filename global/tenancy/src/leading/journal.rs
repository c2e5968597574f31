//! Where a move is written down: each step that is done, and the placements that come of it.

use std::time::Duration;

use async_trait::async_trait;
use contracts::{Generation, TenantId};
use uuid::Uuid;

use crate::Tenancy;
use crate::domain::moving::Step;
use crate::error::Error;
use crate::ops::moves;
use crate::store;
use crate::store::moves::Move;

/// What a leader needs of tenancy's database. A step is refused once another process is the writer.
#[async_trait]
pub trait Journal: Send + Sync {
    async fn read(&self, id: Uuid) -> Result<Move, Error>;
    /// The generation at which the tenant is placed now.
    async fn placed_at(&self, tenant: &TenantId) -> Result<Generation, Error>;
    /// The step is done; answers the next.
    async fn advance(&self, id: Uuid, step: Step) -> Result<Step, Error>;
    /// As [`moves::close`].
    async fn close(&self, id: Uuid) -> Result<(), Error>;
    /// As [`moves::switch`].
    async fn switch(&self, id: Uuid) -> Result<Step, Error>;
    async fn complain(&self, id: Uuid, problem: &str) -> Result<(), Error>;
    /// Before a step is tried again.
    fn pause(&self) -> Duration;
}

#[async_trait]
impl Journal for Tenancy {
    async fn read(&self, id: Uuid) -> Result<Move, Error> {
        store::moves::lock(&mut *self.0.pool.acquire().await?, id).await?.ok_or(Error::NotFound("move"))
    }

    async fn placed_at(&self, tenant: &TenantId) -> Result<Generation, Error> {
        let mut db = self.0.pool.acquire().await?;
        let tenant = store::tenants::list(&mut db, None, None, Some(tenant.as_str()), None, 1).await?.pop();
        let generation = tenant.ok_or(Error::NotFound("tenant"))?.generation;
        Ok(Generation(generation.unsigned_abs()))
    }

    async fn advance(&self, id: Uuid, step: Step) -> Result<Step, Error> {
        moves::advance(self, id, step).await
    }

    async fn close(&self, id: Uuid) -> Result<(), Error> {
        moves::close(self, id).await
    }

    async fn switch(&self, id: Uuid) -> Result<Step, Error> {
        moves::switch(self, id).await
    }

    async fn complain(&self, id: Uuid, problem: &str) -> Result<(), Error> {
        store::moves::complain(&mut *self.0.pool.acquire().await?, id, problem).await
    }

    fn pause(&self) -> Duration {
        Duration::from_millis(self.0.settings.move_retry_ms)
    }
}
