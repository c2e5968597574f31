//! Running statements, a bounded number at a time.

use std::sync::Arc;
use std::time::Duration;

use arrow_flight::Ticket;
use async_trait::async_trait;
use http::HeaderMap;
use kit::{Problem, Scope};
use query_engine::TableSource;
use query_engine::flight::{Backend, Description, EngineBackend, Messages, Statement, hold};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

use crate::error::Error;

/// The pool as its callers see it.
#[derive(Debug)]
pub struct Pool {
    engine: EngineBackend,
    turns: Arc<Semaphore>,
    statements: usize,
    wait: Duration,
}

impl Pool {
    pub fn new(engine: EngineBackend, statements: usize, wait: Duration) -> Self {
        Self { engine, turns: Arc::new(Semaphore::new(statements)), statements, wait }
    }

    pub fn capacity(&self) -> usize {
        self.statements
    }

    pub fn running(&self) -> usize {
        self.statements.saturating_sub(self.turns.available_permits())
    }

    /// Waits in line, first come first served, but not for ever.
    async fn turn(&self) -> Result<OwnedSemaphorePermit, Error> {
        let turn = tokio::time::timeout(self.wait, Arc::clone(&self.turns).acquire_owned()).await;
        turn.ok().and_then(Result::ok).ok_or(Error::Busy(self.wait))
    }
}

#[async_trait]
impl Backend for Pool {
    /// The connection is one of the services this one accepts; the scope is theirs to state.
    fn admit(&self, headers: &HeaderMap) -> Result<Scope, Problem> {
        Ok(Scope::from_headers(headers)?)
    }

    fn source(&self) -> &Arc<dyn TableSource> {
        self.engine.0.source()
    }

    async fn describe(&self, scope: &Scope, statement: &Statement) -> Result<Description, Problem> {
        Ok(self.engine.describe(scope, statement).await?)
    }

    async fn run(&self, scope: &Scope, statement: &Statement, _: &Ticket) -> Result<Messages, Status> {
        let turn = self.turn().await.map_err(|error| Problem::from(error).to_status())?;
        let messages = self.engine.run(scope, statement).await.map_err(|error| Problem::from(error).to_status())?;
        Ok(hold(messages, turn))
    }
}
