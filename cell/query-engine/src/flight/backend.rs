//! What a Flight SQL server answers from.

use std::sync::Arc;

use arrow_flight::{FlightData, Ticket};
use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use http::HeaderMap;
use kit::{Problem, Scope};
use tonic::Status;

use super::encode::encode;
use super::statement::Statement;
use crate::source::{Pin, TableSource};
use crate::{Engine, Error, Request, Result};

/// Flight messages of a result, schema first.
pub type Messages = BoxStream<'static, Result<FlightData, Status>>;

/// What is known of a statement before it runs.
#[derive(Debug, Clone)]
pub struct Description {
    pub schema: SchemaRef,
    /// One field per parameter that is not bound yet.
    pub parameters: SchemaRef,
    /// State of the tables the statement reads.
    pub pins: Vec<Pin>,
}

/// Keeps `guard` for as long as anybody reads `messages`.
pub fn hold<G: Send + 'static>(messages: Messages, guard: G) -> Messages {
    messages
        .inspect(move |_| {
            let _held = &guard;
        })
        .boxed()
}

/// The edge and the pool differ in here and nowhere else.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// Who calls, or why not.
    fn admit(&self, headers: &HeaderMap) -> Result<Scope, Problem>;
    /// The tenant's tables, for metadata calls.
    fn source(&self) -> &Arc<dyn TableSource>;
    /// Binds a statement without running it.
    async fn describe(&self, scope: &Scope, statement: &Statement) -> Result<Description, Problem>;
    /// Runs a statement whose ticket was opened and found to be the caller's.
    async fn run(&self, scope: &Scope, statement: &Statement, ticket: &Ticket) -> Result<Messages, Status>;
}

/// A statement on this machine's engine.
#[derive(Debug, Clone)]
pub struct EngineBackend(pub Arc<Engine>);

impl EngineBackend {
    pub async fn describe(&self, scope: &Scope, statement: &Statement) -> Result<Description> {
        let bound = self.0.bind(request(scope, statement)).await?;
        let bound = match statement.parameters()? {
            Some(values) if values.num_rows() > 0 => self.0.with_parameters(&bound, &values, 0)?,
            _ => bound,
        };
        Ok(Description {
            schema: Arc::clone(bound.schema()),
            parameters: Arc::clone(bound.parameters()),
            pins: bound.pins().to_vec(),
        })
    }

    /// One execution per row of bound parameters; their results follow each other.
    pub async fn run(&self, scope: &Scope, statement: &Statement) -> Result<Messages> {
        let bound = self.0.bind(request(scope, statement)).await?;
        let Some(values) = statement.parameters()? else {
            let rows = self.0.execute(&bound).await?;
            let schema = Arc::clone(rows.schema());
            return Ok(encode(schema, rows.boxed()));
        };
        if values.num_rows() == 0 {
            return Err(Error::Parameters("no row of parameters is bound".to_owned()));
        }
        // One plan at a time: a statement may be bound to as many rows as fit into its ticket.
        let engine = Arc::clone(&self.0);
        let first = Arc::new(engine.with_parameters(&bound, &values, 0)?);
        let schema = Arc::clone(first.schema());
        let rows = stream::iter(0..values.num_rows())
            .map(move |row| match row {
                0 => Ok(Arc::clone(&first)),
                _ => engine.with_parameters(&bound, &values, row).map(Arc::new),
            })
            .and_then({
                let engine = Arc::clone(&self.0);
                move |bound| {
                    let engine = Arc::clone(&engine);
                    async move { engine.execute(&bound).await }
                }
            })
            .try_flatten();
        Ok(encode(schema, rows.boxed()))
    }
}

fn request<'a>(scope: &'a Scope, statement: &'a Statement) -> Request<'a> {
    Request { scope, session: &statement.session, sql: &statement.sql, pins: statement.pins.as_deref() }
}
