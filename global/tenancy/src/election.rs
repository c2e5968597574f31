//! Which process may change placements.
//!
//! The lock says who should write, the term in the database says who may: every write checks it
//! in its own transaction, so a process that lost the lock without noticing cannot commit.

use std::time::Duration;

use sqlx::{PgPool, PgTransaction};
use tokio::sync::watch;

use crate::error::Error;
use crate::store::writer;

const CAMPAIGN_PAUSE: Duration = Duration::from_millis(500);
const PING_PAUSE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub struct Election {
    term: watch::Sender<Option<i64>>,
}

impl Default for Election {
    fn default() -> Self {
        Self { term: watch::Sender::new(None) }
    }
}

/// Clears the term however the holder ends.
struct Office<'a>(&'a watch::Sender<Option<i64>>);

impl Drop for Office<'_> {
    fn drop(&mut self) {
        self.0.send_replace(None);
    }
}

impl Election {
    pub fn term(&self) -> Option<i64> {
        *self.term.borrow()
    }

    /// Resolves once this process holds the office.
    pub async fn elected(&self) {
        let mut term = self.term.subscribe();
        // The sender lives as long as we do.
        let _closed = term.wait_for(Option::is_some).await;
    }

    /// Campaigns until it wins, then holds the office until the connection breaks. The connection
    /// is the process's own, not the pool's: nobody else may use or close it.
    pub async fn hold(&self, pool: &PgPool) -> Result<(), Error> {
        let mut connection = pool.acquire().await?.detach();
        let term = loop {
            match writer::campaign(&mut connection).await? {
                Some(term) => break term,
                None => tokio::time::sleep(CAMPAIGN_PAUSE).await,
            }
        };
        tracing::info!(term, "elected writer");
        let _office = Office(&self.term);
        self.term.send_replace(Some(term));
        loop {
            tokio::time::sleep(PING_PAUSE).await;
            writer::ping(&mut connection).await?;
        }
    }

    /// A transaction that may change placements: it holds the writer's row to its end.
    pub async fn begin(&self, pool: &PgPool) -> Result<PgTransaction<'static>, Error> {
        let term = self.term().ok_or(Error::NotWriter)?;
        let mut transaction = kit::database::begin(pool).await?;
        writer::fence(&mut transaction, term).await?;
        Ok(transaction)
    }
}
