//! Running statements, a bounded number at a time, fair between tenants.

use std::sync::Arc;

use arrow_flight::Ticket;
use async_trait::async_trait;
use http::HeaderMap;
use kit::turns::{Turn, Turns};
use kit::{Problem, Scope};
use query_engine::TableSource;
use query_engine::flight::{Backend, Description, EngineBackend, Messages, Statement, hold};
use tonic::Status;

use crate::config::Settings;
use crate::error::Error;

/// The pool as its callers see it.
#[derive(Debug)]
pub struct Pool {
    engine: EngineBackend,
    turns: Turns,
    settings: Settings,
}

impl Pool {
    pub fn new(engine: EngineBackend, settings: Settings) -> Self {
        Self { engine, turns: Turns::new(settings.places()), settings }
    }

    pub fn capacity(&self) -> usize {
        self.turns.all()
    }

    pub fn running(&self) -> usize {
        self.turns.out()
    }

    async fn turn(&self, scope: &Scope) -> Result<Turn, Error> {
        Ok(self.turns.take(&scope.tenant, self.settings.wait()).await?)
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
        let turn = self.turn(scope).await.map_err(|error| Problem::from(error).to_status())?;
        let messages = self.engine.run(scope, statement).await.map_err(|error| Problem::from(error).to_status())?;
        Ok(hold(messages, turn))
    }
}
