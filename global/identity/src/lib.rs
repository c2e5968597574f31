//! Identity: who there is, how they sign in, and what their tokens say.
//!
//! Part of the global plane: needed to sign in and to refresh, never on a request's path.

mod api;
mod config;
mod domain;
mod error;
mod hashing;
mod jobs;
mod ops;
mod random;
mod ring;
mod store;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use contracts::{Claims, TenantId};
use http::HeaderMap;
use kit::Secret;
use kit::database::DatabaseError;
use kit::seal::Sealer;
use kit::tasks::Tasks;
use sqlx::PgPool;
use sqlx::migrate::Migrator;
use tokio::sync::watch;

pub use api::{authenticate, internal_router, openapi, router};
pub use config::Settings;
pub use error::Error;
pub use ring::Signature;

use domain::opaque::Pepper;
use hashing::Hashing;
use ring::Ring;

static MIGRATOR: Migrator = sqlx::migrate!("./migrations");

/// What identity must know of organisations and tenants; the host answers from tenancy.
#[async_trait]
pub trait Directory: Send + Sync {
    async fn organisation_exists(&self, organisation: &str) -> Result<bool, Box<dyn std::error::Error + Send + Sync>>;
    /// The organisation that owns a tenant which exists.
    async fn organisation_of(
        &self,
        tenant: &TenantId,
    ) -> Result<Option<String>, Box<dyn std::error::Error + Send + Sync>>;
}

struct Parts {
    pool: PgPool,
    settings: Settings,
    ring: Ring,
    hashing: Hashing,
    pepper: Pepper,
    directory: Arc<dyn Directory>,
    /// Newest position of the revocation feed that this process has heard of.
    revocation_head: watch::Sender<u64>,
    /// The same of the key cards.
    key_card_head: watch::Sender<u64>,
}

/// The service; clones share everything.
#[derive(Clone)]
pub struct Identity(Arc<Parts>);

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity")
    }
}

impl Identity {
    /// `seal_key` (32 bytes in hex) seals the signing keys and peppers stored hashes.
    pub fn new(
        pool: PgPool,
        settings: Settings,
        seal_key: &Secret,
        directory: Arc<dyn Directory>,
    ) -> Result<Self, Error> {
        let ring = Ring::new(Sealer::new(seal_key).map_err(Error::Sealed)?);
        let (hashing, pepper) = (Hashing::new(settings.concurrent_hashes)?, Pepper::derive(seal_key.expose()));
        let (revocation_head, key_card_head) = (watch::Sender::new(0), watch::Sender::new(0));
        Ok(Self(Arc::new(Parts { pool, settings, ring, hashing, pepper, directory, revocation_head, key_card_head })))
    }

    /// Brings the database up to this build.
    pub async fn migrate(pool: &PgPool) -> Result<(), Error> {
        Ok(MIGRATOR.run(pool).await.map_err(DatabaseError::Migration)?)
    }

    /// Whether every migration of this build has been applied.
    pub async fn migrated(pool: &PgPool) -> Result<bool, Error> {
        Ok(kit::database::is_current(pool, &MIGRATOR).await?)
    }

    /// Whether signing keys are stored, which only the seal key they were made with can open.
    pub async fn has_keys(pool: &PgPool) -> Result<bool, Error> {
        Ok(!store::keys::all(&mut *pool.acquire().await?).await?.is_empty())
    }

    /// Makes the first administrator, once, and leaves its credential in `file` (mode 0600).
    /// `reissue` replaces a lost credential. Answers whether the file was written.
    pub async fn bootstrap(&self, file: &Path, reissue: bool) -> Result<bool, Error> {
        ops::bootstrap::administrator(self, file, reissue).await
    }

    /// Loads the keys (making the first ones) and starts the jobs.
    pub async fn start(&self, tasks: &Tasks) -> Result<(), Error> {
        jobs::rotate(self).await?;
        jobs::spawn(self, tasks);
        Ok(())
    }

    /// Whether tokens can be issued.
    pub fn ready(&self) -> bool {
        self.0.ring.ready()
    }

    /// Signs a document with the key that signs tokens now.
    pub fn sign(&self, document: &[u8]) -> Result<Signature, Error> {
        self.0.ring.sign(document)
    }

    /// Claims of a valid global token whose session is alive; `None` without a bearer token.
    pub async fn bearer(&self, headers: &HeaderMap) -> Result<Option<Claims>, Error> {
        ops::sessions::bearer(self, headers).await
    }
}
