//! What a tenant's last requests have left to do, waited for until it is done.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use contracts::TenantId;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::MovingError;
use crate::database::{Database, DatabaseError};

/// Longest wait for one of them.
const PATIENCE: Duration = Duration::from_secs(30);
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Why it could not be said whether all is done.
pub type Unsettled = Box<dyn std::error::Error + Send + Sync>;

/// Settling is asked for several times: what one service leaves for another is seen in the next round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Round {
    /// The tenant still works here: what has piled up until now is done before anybody waits for it.
    Before,
    /// The first since the tenant's requests are refused.
    First,
    /// All were settled since the tenant's requests were refused: only what came of that is left.
    Next,
}

impl Round {
    /// As a query says it.
    pub fn name(self) -> &'static str {
        match self {
            Round::Before => "before",
            Round::First => "first",
            Round::Next => "next",
        }
    }
}

/// Something that works on after a request has been answered.
#[async_trait]
pub trait Settles: Send + Sync {
    fn name(&self) -> String;

    /// Returns once everything is done that was to be done for the tenant when it was called. Others' work may be
    /// waited for with it.
    async fn settle(&self, tenant: &TenantId, round: Round) -> Result<(), Unsettled>;
}

/// Everything of one service that works on, in the order in which work passes through it.
#[derive(Clone, Default)]
pub struct Settling(Arc<Mutex<Vec<Arc<dyn Settles>>>>);

impl std::fmt::Debug for Settling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.lock().iter().map(|one| one.name())).finish()
    }
}

impl Settling {
    pub fn add(&self, one: impl Settles + 'static) {
        self.0.lock().push(Arc::new(one));
    }

    /// One after the other: what the first hands on, the next has.
    pub async fn settle(&self, tenant: &TenantId, round: Round) -> Result<(), MovingError> {
        let all = self.0.lock().clone();
        for one in all {
            patiently(one.as_ref(), tenant, round).await?;
        }
        Ok(())
    }
}

pub(super) async fn patiently(one: &dyn Settles, tenant: &TenantId, round: Round) -> Result<(), MovingError> {
    let why = match tokio::time::timeout(PATIENCE, one.settle(tenant, round)).await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => crate::fault::chain(error.as_ref()).to_string(),
        Err(_) => "the time is over".to_owned(),
    };
    tracing::warn!(what = one.name(), why, "not settled");
    Err(MovingError::Unsettled(one.name()))
}

/// Events of the tenant that have not left yet.
pub(super) struct Outbox(pub Database);

#[async_trait]
impl Settles for Outbox {
    fn name(&self) -> String {
        "the outbox".to_owned()
    }

    async fn settle(&self, tenant: &TenantId, round: Round) -> Result<(), Unsettled> {
        // A tenant that works always has some.
        if round == Round::Before {
            return Ok(());
        }
        while waits(&self.0, tenant).await? {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }
}

async fn waits(database: &Database, tenant: &TenantId) -> Result<bool, DatabaseError> {
    let mut tx = database.begin_moment(tenant).await?;
    Ok(sqlx::query_scalar("select exists (select from outbox)").fetch_one(&mut *tx).await?)
}
