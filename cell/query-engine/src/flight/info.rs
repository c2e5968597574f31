//! `GetFlightInfo`, `PollFlightInfo`, `GetSchema`.

use arrow_flight::sql::{Any, Command};
use arrow_flight::{FlightDescriptor, FlightEndpoint, FlightInfo, IpcMessage, SchemaAsIpc, Ticket};
use bytes::Bytes;
use datafusion::arrow::datatypes::Schema;
use datafusion::arrow::ipc::writer::IpcWriteOptions;
use kit::Scope;
use prost::Message;
use prost_types::Timestamp;

use super::backend::Backend;
use super::server::{Caller, FlightSqlServer, Reply};
use super::statement::Statement;
use crate::Error;

/// The command inside a descriptor or a ticket.
pub(super) fn command(bytes: &[u8]) -> Result<Command, Error> {
    let any = Any::decode(bytes).map_err(|_| Error::Ticket)?;
    Command::try_from(any).map_err(|_| Error::Ticket)
}

/// A schema as the protocol embeds it in messages.
pub(super) fn ipc(schema: &Schema) -> Result<Bytes, Error> {
    let options = IpcWriteOptions::default();
    let message: IpcMessage = SchemaAsIpc::new(schema, &options)
        .try_into()
        .map_err(|e: datafusion::arrow::error::ArrowError| Error::Engine(Box::new(e)))?;
    Ok(message.0)
}

pub(super) fn timestamp(seconds: i64) -> Timestamp {
    Timestamp { seconds, nanos: 0 }
}

impl<B: Backend> FlightSqlServer<B> {
    pub(super) async fn flight_info(&self, caller: &Caller, descriptor: FlightDescriptor) -> Reply<FlightInfo> {
        let command = command(&descriptor.cmd)?;
        if let Some(schema) = self.metadata.schema(&command) {
            let ticket = Ticket { ticket: descriptor.cmd.clone() };
            let endpoint = FlightEndpoint::new().with_ticket(ticket);
            return Ok(FlightInfo { schema: ipc(&schema)?, ..info(descriptor, endpoint) });
        }
        let mut statement = self.statement(caller, command)?;
        let description = self.backend.describe(&caller.scope, &statement).await?;
        if !description.parameters.fields().is_empty() && statement.parameters()?.is_none() {
            let count = description.parameters.fields().len();
            return Err(Error::Parameters(format!("{count} parameters are not bound")).into());
        }
        statement.pins = Some(description.pins);
        let endpoint = self.endpoint(statement)?;
        Ok(FlightInfo { schema: ipc(&description.schema)?, ..info(descriptor, endpoint) })
    }

    pub(super) async fn schema_of(&self, caller: &Caller, descriptor: FlightDescriptor) -> Reply<Bytes> {
        let command = command(&descriptor.cmd)?;
        if let Some(schema) = self.metadata.schema(&command) {
            return Ok(ipc(&schema)?);
        }
        let statement = self.statement(caller, command)?;
        Ok(ipc(&self.backend.describe(&caller.scope, &statement).await?.schema)?)
    }

    /// Rows wait behind a ticket that anybody of the cell can redeem, for the same caller.
    pub(super) fn endpoint(&self, statement: Statement) -> Result<FlightEndpoint, Error> {
        let (ticket, expires) = self.tickets.ticket(statement)?;
        Ok(FlightEndpoint { expiration_time: Some(timestamp(expires)), ..FlightEndpoint::new().with_ticket(ticket) })
    }

    fn statement(&self, caller: &Caller, command: Command) -> Result<Statement, Error> {
        match command {
            Command::CommandStatementQuery(query) => {
                refuse_transaction(query.transaction_id.as_deref())?;
                Ok(Statement::new(&caller.scope, caller.session.clone(), query.query))
            }
            Command::CommandPreparedStatementQuery(query) => {
                self.tickets.open_handle(&caller.scope, &query.prepared_statement_handle)
            }
            Command::CommandStatementSubstraitPlan(_) => Err(Error::Unsupported("a Substrait plan".to_owned())),
            other => Err(Error::Unsupported(format!("{} here", short(other.type_url())))),
        }
    }
}

pub(super) fn refuse_transaction(id: Option<&[u8]>) -> Result<(), Error> {
    match id {
        Some(id) if !id.is_empty() => Err(Error::Unsupported("a transaction".to_owned())),
        _ => Ok(()),
    }
}

pub(super) fn short(type_url: &str) -> &str {
    type_url.rsplit('.').next().unwrap_or(type_url)
}

fn info(descriptor: FlightDescriptor, endpoint: FlightEndpoint) -> FlightInfo {
    FlightInfo {
        flight_descriptor: Some(descriptor),
        endpoint: vec![endpoint],
        // Not known before the statement has run.
        total_records: -1,
        total_bytes: -1,
        ordered: true,
        ..FlightInfo::default()
    }
}

/// Whether the scope's actor may query at all.
pub(super) fn may_query(scope: &Scope) -> Result<(), kit::scope::ScopeError> {
    scope.require(contracts::claims::scope::SQL_READ)
}
