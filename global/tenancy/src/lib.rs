//! Tenancy: organisations, tenants, cells, and which tenant lives where.
//!
//! Part of the global plane. Routers and cells follow its routing feed and serve from what they
//! have when it is away; only creating and moving tenants needs it.

mod api;
mod config;
mod domain;
mod draining;
mod election;
mod error;
mod jobs;
mod leading;
mod movers;
mod ops;
mod store;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use contracts::TenantId;
use kit::database::DatabaseError;
use kit::tasks::Tasks;
use sqlx::PgPool;
use sqlx::migrate::Migrator;
use tokio::sync::{Notify, Semaphore, watch};

pub use api::{internal_router, openapi, router};
pub use config::Settings;
pub use error::Error;
pub use leading::{Cells, Refused, Request};
pub use movers::Movers;

use election::Election;
use leading::{Led, Turns};
use ops::sharing::Divided;
use ops::spool::Spools;

static MIGRATOR: Migrator = sqlx::migrate!("./migrations");

/// A signature over a document, by a key of the site's key set.
#[derive(Debug, Clone)]
pub struct Signature {
    pub kid: String,
    /// Base64, URL-safe, no padding.
    pub signature: String,
}

/// Signs contract bundles; the host answers from identity.
pub trait Signer: Send + Sync {
    fn sign(&self, document: &[u8]) -> Result<Signature, Box<dyn std::error::Error + Send + Sync>>;
}

struct Parts {
    pool: PgPool,
    settings: Settings,
    signer: Arc<dyn Signer>,
    election: Election,
    /// Newest version of the routing log that this process has heard of.
    routing_head: watch::Sender<u64>,
    feed_readers: Arc<Semaphore>,
    spools: Spools,
    divided: Divided,
    /// Moves that this process leads, and a wake-up for new ones.
    led: Led,
    turns: Turns,
    moves_wanted: Notify,
    drains_wanted: Notify,
}

/// The service; clones share everything.
#[derive(Clone)]
pub struct Tenancy(Arc<Parts>);

impl std::fmt::Debug for Tenancy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tenancy")
    }
}

impl Tenancy {
    pub fn new(pool: PgPool, settings: Settings, signer: Arc<dyn Signer>) -> Self {
        let feed_readers = Arc::new(Semaphore::new(settings.max_feed_readers));
        let (election, routing_head) = (Election::default(), watch::Sender::new(0));
        let (spools, led) = (Spools::default(), Led::default());
        Self(Arc::new(Parts {
            pool,
            settings,
            signer,
            election,
            routing_head,
            feed_readers,
            spools,
            divided: Divided::default(),
            led,
            turns: Turns::default(),
            moves_wanted: Notify::new(),
            drains_wanted: Notify::new(),
        }))
    }

    /// Brings the database up to this build.
    pub async fn migrate(pool: &PgPool) -> Result<(), Error> {
        Ok(MIGRATOR.run(pool).await.map_err(DatabaseError::Migration)?)
    }

    /// Whether every migration of this build has been applied.
    pub async fn migrated(pool: &PgPool) -> Result<bool, Error> {
        Ok(kit::database::is_current(pool, &MIGRATOR).await?)
    }

    /// Publishes this build's contracts and starts the jobs.
    pub async fn start(&self, tasks: &Tasks) -> Result<(), Error> {
        ops::contracts::publish(self).await?;
        jobs::spawn(self, tasks);
        Ok(())
    }

    /// Leads the moves of tenants, while this process is the writer.
    pub fn lead(&self, tasks: &Tasks, cells: Arc<dyn Cells>) {
        jobs::lead(self, tasks, cells);
    }

    /// Whether this process may change placements.
    pub fn is_writer(&self) -> bool {
        self.0.election.term().is_some()
    }

    /// Waits until this process is the writer, `patience` at most. Answers whether it is.
    pub async fn elected(&self, patience: Duration) -> bool {
        tokio::time::timeout(patience, self.0.election.elected()).await.is_ok()
    }

    pub async fn organisation_exists(&self, organisation: &str) -> Result<bool, Error> {
        let mut db = self.0.pool.acquire().await?;
        Ok(store::organisations::find(&mut db, organisation).await?.is_some())
    }

    /// The organisation of a tenant that exists.
    pub async fn organisation_of(&self, tenant: &TenantId) -> Result<Option<String>, Error> {
        store::tenants::organisation_of(&mut *self.0.pool.acquire().await?, tenant.as_str()).await
    }
}
