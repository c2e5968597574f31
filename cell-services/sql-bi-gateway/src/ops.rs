//! The use cases: admit, bind, route, run, record.

use std::sync::Arc;

use arrow_flight::Ticket;
use async_trait::async_trait;
use contracts::claims::scope::AUDIT_READ;
use flight_sql::Client;
use futures::{StreamExt, TryStreamExt};
use http::HeaderMap;
use kit::admission::Admission;
use kit::database::Database;
use kit::http::{Page, PageRequest};
use kit::{Fault, Kind, Problem, Scope};
use query_engine::TableSource;
use query_engine::flight::{Backend, Description, EngineBackend, Messages, Statement, Tickets, hold};
use tonic::transport::Channel;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::domain::Route;
use crate::error::Error;
use crate::events::Recorder;
use crate::limits::TenantLimits;
use crate::recorded::Recorded;
use crate::store::{self, Past};

/// The edge. Flight SQL callers come from the router, HTTP callers from the gateway.
pub struct Edge {
    pub admission: Arc<Admission>,
    pub engine: EngineBackend,
    pub tickets: Tickets,
    pub pool: Channel,
    pub database: Database,
    pub recorder: Recorder,
    pub limits: TenantLimits,
}

impl Edge {
    /// Binds a statement and runs it at once, for callers that have no use for a ticket.
    pub async fn statement(&self, scope: &Scope, mut statement: Statement) -> Result<Messages, Problem> {
        let description = self.describe(scope, &statement).await?;
        if !description.parameters.fields().is_empty() {
            let missing = format!("{} parameters are not bound", description.parameters.fields().len());
            return Err(query_engine::Error::Parameters(missing).into());
        }
        statement.pins = Some(description.pins);
        let (ticket, _) = self.tickets.ticket(statement.clone())?;
        self.run(scope, &statement, &ticket).await.map_err(|status| problem(&status))
    }

    /// The tenant's statements, newest first: the caller's own, or everybody's for an auditor.
    pub async fn history(&self, scope: &Scope, page: &PageRequest) -> Result<Page<Past>, Error> {
        scope.require(contracts::claims::scope::SQL_READ)?;
        let actor = scope.actor.to_string();
        let whose = scope.require(AUDIT_READ).is_err().then_some(actor.as_str());
        let (size, before) = (page.size()?, page.after::<Uuid>()?);
        let mut tx = self.database.begin(scope).await?;
        let limit = i64::try_from(size + 1).unwrap_or(i64::MAX);
        let rows = store::list(&mut tx, scope, whose, before, limit).await?;
        tx.commit().await?;
        Ok(Page::of(rows, size, |past| past.id))
    }

    /// The pool redeems the very ticket: it was sealed with the cell's key, and names the caller.
    async fn ask_pool(&self, scope: &Scope, ticket: &Ticket) -> Result<Messages, Status> {
        let headers = scope.to_headers().map_err(|error| Problem::from(error).to_status())?;
        let client = Client::new(self.pool.clone()).with_headers(headers);
        let messages = client.fetch_raw(ticket.clone()).await.map_err(|error| match error {
            flight_sql::Error::Refused(status) => reachable(*status),
            other => Problem::from(other).to_status(),
        })?;
        Ok(messages.map_err(reachable).boxed())
    }
}

/// A pool that is away says so in the transport's words, which are no business of a client.
fn reachable(status: Status) -> Status {
    let ours = status.metadata().contains_key(contracts::headers::ERROR_CODE);
    match status.code() {
        Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled if !ours => {
            tracing::warn!(error = %kit::fault::chain(&status), "the pool did not answer");
            Problem::from(Error::PoolAway).to_status()
        }
        _ => status,
    }
}

/// A status for an HTTP caller.
pub fn problem(status: &Status) -> Problem {
    let text = |name: &str| status.metadata().get(name).and_then(|value| value.to_str().ok());
    let kind = match status.code() {
        Code::InvalidArgument => Kind::Invalid,
        Code::Unauthenticated => Kind::Unauthenticated,
        Code::PermissionDenied => Kind::Forbidden,
        Code::NotFound => Kind::NotFound,
        Code::AlreadyExists => Kind::Conflict,
        Code::FailedPrecondition => Kind::Precondition,
        Code::ResourceExhausted if text("retry-after").is_none() => Kind::TooLarge,
        Code::ResourceExhausted => Kind::TooMany,
        Code::Unavailable => Kind::Unavailable,
        Code::DeadlineExceeded => Kind::Timeout,
        _ => Kind::Internal,
    };
    let problem = Problem::new(kind, code(text(contracts::headers::ERROR_CODE)), status.message());
    match text("retry-after").and_then(|seconds| seconds.parse().ok()) {
        Some(seconds) => problem.retry_after(std::time::Duration::from_secs(seconds)),
        None => problem,
    }
}

/// The code of a statement's own failure as this process writes it.
fn code(told: Option<&str>) -> &'static str {
    const KNOWN: [&str; 14] = [
        "sql/statement",
        "sql/read-only",
        "sql/table-not-found",
        "sql/unsupported",
        "sql/parameters",
        "sql/data",
        "sql/memory-limit",
        "sql/timeout",
        "sql/pool-busy",
        "sql/pool-unavailable",
        "sql/concurrency-limit",
        "sql/history-full",
        "sql/catalog",
        "sql/storage",
    ];
    KNOWN.into_iter().find(|known| told == Some(*known)).unwrap_or("sql/engine")
}

#[async_trait]
impl Backend for Edge {
    fn admit(&self, headers: &HeaderMap) -> Result<Scope, Problem> {
        let scope = self.admission.admit(headers)?;
        self.limits.call(&scope.tenant)?;
        Ok(scope)
    }

    fn source(&self) -> &Arc<dyn TableSource> {
        self.engine.0.source()
    }

    async fn describe(&self, scope: &Scope, statement: &Statement) -> Result<Description, Problem> {
        // To bind a statement costs more than most take to run: one that would be refused later is refused before.
        let _place = self.limits.statement(&scope.tenant)?;
        match self.engine.describe(scope, statement).await {
            Ok(description) => Ok(description),
            Err(error) => {
                let place = self.recorder.reserve()?;
                let problem = Problem::from(error);
                Recorded::refused(scope, statement, &problem.to_status(), place);
                Err(problem)
            }
        }
    }

    async fn run(&self, scope: &Scope, statement: &Statement, ticket: &Ticket) -> Result<Messages, Status> {
        let refused = |error: Error| {
            debug_assert!(error.kind() != Kind::Internal);
            Problem::from(error).to_status()
        };
        let turn = self.limits.statement(&scope.tenant).map_err(refused)?;
        let place = self.recorder.reserve().map_err(refused)?;
        let route = Route::of(statement.pins.as_deref().unwrap_or_default());
        let recorded = Recorded::begin(scope, statement, route, place);
        let messages = match route {
            Route::Pool => self.ask_pool(scope, ticket).await,
            Route::Edge => self.engine.run(scope, statement).await.map_err(|error| Problem::from(error).to_status()),
        };
        match messages {
            Ok(messages) => Ok(hold(recorded.follow(messages), turn)),
            Err(status) => {
                recorded.fail(&status);
                Err(status)
            }
        }
    }
}
