//! Tickets and prepared handles: a statement, sealed.

use std::sync::Arc;

use arrow_flight::Ticket;
use arrow_flight::sql::{ProstMessageExt, TicketStatementQuery};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use contracts::TenantId;
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::ipc::reader::StreamReader;
use datafusion::arrow::ipc::writer::StreamWriter;
use datafusion::arrow::record_batch::RecordBatch;
use kit::seal::Sealer;
use kit::{Scope, clock};
use prost::Message;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::source::Pin;
use crate::{Error, Result, SessionOptions};

const TICKET: &str = "sql-ticket";
const PREPARED: &str = "sql-prepared";
/// Seconds a ticket may be redeemed, any number of times: a reader whose connection broke asks again.
const TICKET_SECONDS: i64 = 15 * 60;
/// Seconds a prepared handle may be executed.
const PREPARED_SECONDS: i64 = 24 * 3600;

/// All there is to know of a statement in order to run it, anywhere in the cell.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Statement {
    /// Names the statement in history, in the audit and when it is cancelled.
    pub id: Uuid,
    pub sql: String,
    pub session: SessionOptions,
    /// Bound parameters as an Arrow IPC stream, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bound: Option<String>,
    /// Absent until the statement is bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pins: Option<Vec<Pin>>,
    tenant: TenantId,
    actor: String,
    /// Seconds since 1970.
    expires: i64,
}

impl Statement {
    pub fn new(scope: &Scope, session: SessionOptions, sql: impl Into<String>) -> Self {
        Self {
            id: Uuid::now_v7(),
            sql: sql.into(),
            session,
            bound: None,
            pins: None,
            tenant: scope.tenant.clone(),
            actor: scope.actor.to_string(),
            expires: 0,
        }
    }

    /// The bound parameters, one row per execution.
    pub fn parameters(&self) -> Result<Option<RecordBatch>> {
        let Some(text) = &self.bound else { return Ok(None) };
        let bytes = STANDARD.decode(text).map_err(|_| Error::Ticket)?;
        let reader = StreamReader::try_new(bytes.as_slice(), None).map_err(|_| Error::Ticket)?;
        let schema = reader.schema();
        let batches = reader.collect::<std::result::Result<Vec<_>, _>>().map_err(|_| Error::Ticket)?;
        concat_batches(&schema, &batches).map(Some).map_err(|_| Error::Ticket)
    }

    /// Binds parameters; `limit` bounds what the handle then carries.
    pub fn bind(&mut self, batches: &[RecordBatch], limit: usize) -> Result<()> {
        let Some(first) = batches.first() else {
            self.bound = None;
            return Ok(());
        };
        let invalid = |error: datafusion::arrow::error::ArrowError| Error::Parameters(error.to_string());
        let mut writer = StreamWriter::try_new(Vec::new(), &first.schema()).map_err(invalid)?;
        for batch in batches {
            writer.write(batch).map_err(invalid)?;
        }
        let bytes = writer.into_inner().map_err(invalid)?;
        if bytes.len() > limit {
            return Err(Error::TooLong { what: "the set of bound parameters", limit });
        }
        self.bound = Some(STANDARD.encode(bytes));
        Ok(())
    }

    fn belongs_to(&self, scope: &Scope) -> bool {
        self.tenant == scope.tenant && self.actor == scope.actor.to_string()
    }
}

/// Seals and opens statements. Every process of the cell shares the key, so the edge's ticket is
/// the pool's ticket.
#[derive(Debug, Clone)]
pub struct Tickets(Arc<Sealer>);

impl Tickets {
    pub fn new(sealer: Sealer) -> Self {
        Self(Arc::new(sealer))
    }

    /// The ticket, and the second since 1970 after which it is void.
    pub fn ticket(&self, statement: Statement) -> Result<(Ticket, i64)> {
        let expires = clock::unix_seconds() + TICKET_SECONDS;
        let ticket = TicketStatementQuery { statement_handle: self.seal(TICKET, statement, expires)? };
        Ok((Ticket { ticket: ticket.as_any().encode_to_vec().into() }, expires))
    }

    /// Opens a ticket's handle; somebody else's does not exist.
    pub fn open_ticket(&self, scope: &Scope, handle: &[u8]) -> Result<Statement> {
        self.open(TICKET, scope, handle)
    }

    pub fn handle(&self, statement: Statement) -> Result<Bytes> {
        self.seal(PREPARED, statement, clock::unix_seconds() + PREPARED_SECONDS)
    }

    /// Opens a prepared handle as a new statement of its own id.
    pub fn open_handle(&self, scope: &Scope, handle: &[u8]) -> Result<Statement> {
        let mut statement = self.open(PREPARED, scope, handle)?;
        statement.id = Uuid::now_v7();
        Ok(statement)
    }

    fn seal(&self, purpose: &str, mut statement: Statement, expires: i64) -> Result<Bytes> {
        statement.expires = expires;
        let text = serde_json::to_vec(&statement).map_err(|error| Error::Engine(Box::new(error)))?;
        let sealed = self.0.seal(purpose, &text).map_err(|error| Error::Engine(Box::new(error)))?;
        Ok(sealed.into())
    }

    fn open(&self, purpose: &str, scope: &Scope, handle: &[u8]) -> Result<Statement> {
        let token = std::str::from_utf8(handle).map_err(|_| Error::Ticket)?;
        let text = self.0.open(purpose, token).map_err(|_| Error::Ticket)?;
        let statement: Statement = serde_json::from_slice(&text).map_err(|_| Error::Ticket)?;
        if !statement.belongs_to(scope) {
            return Err(Error::Ticket);
        }
        if statement.expires < clock::unix_seconds() {
            return Err(Error::TicketExpired);
        }
        Ok(statement)
    }

    pub(super) fn seal_text(&self, purpose: &str, text: &[u8]) -> Result<String> {
        self.0.seal(purpose, text).map_err(|error| Error::Engine(Box::new(error)))
    }

    pub(super) fn open_text(&self, purpose: &str, token: &str) -> Option<Vec<u8>> {
        self.0.open(purpose, token).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contracts::Generation;
    use kit::{Actor, Secret};

    fn scope(tenant: &str, sub: &str) -> Scope {
        let mut scope = Scope::of_service("edge", TenantId::new(tenant).unwrap(), Generation(1));
        scope.actor = Actor::User(sub.to_owned());
        scope
    }

    #[test]
    fn a_ticket_is_good_for_its_principal_only() {
        let tickets = Tickets::new(Sealer::new(&Secret::new("ab".repeat(32))).unwrap());
        let anne = scope("acme", "anne");
        let handle = tickets.handle(Statement::new(&anne, SessionOptions::default(), "select 1")).unwrap();
        assert_eq!(tickets.open_handle(&anne, &handle).unwrap().sql, "select 1");
        for stranger in [scope("acme", "bob"), scope("globex", "anne")] {
            assert!(matches!(tickets.open_handle(&stranger, &handle), Err(Error::Ticket)));
        }
        // A prepared handle is no ticket.
        assert!(matches!(tickets.open_ticket(&anne, &handle), Err(Error::Ticket)));
    }
}
