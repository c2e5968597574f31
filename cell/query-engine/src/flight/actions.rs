//! `DoAction`: prepared statements, cancellation, renewal, sessions.

use arrow_flight::sql::{
    ActionCancelQueryRequest, ActionCancelQueryResult, ActionClosePreparedStatementRequest,
    ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult, Any, Command, ProstMessageExt,
};
use arrow_flight::{
    Action, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightInfo, RenewFlightEndpointRequest,
    Ticket,
};
use bytes::Bytes;
use prost::Message;

use super::backend::Backend;
use super::info::{command, ipc, refuse_transaction};
use super::server::{Caller, FlightSqlServer, Reply};
use super::sessions::{self, CloseSessionResult, SetSessionOptionsRequest};
use super::statement::Statement;
use crate::Error;

const CREATE: &str = "CreatePreparedStatement";
const CLOSE: &str = "ClosePreparedStatement";
const CANCEL: &str = "CancelFlightInfo";
const CANCEL_QUERY: &str = "CancelQuery";
const RENEW: &str = "RenewFlightEndpoint";
const SET_OPTIONS: &str = "SetSessionOptions";
const GET_OPTIONS: &str = "GetSessionOptions";
const CLOSE_SESSION: &str = "CloseSession";

/// Name and description of every action.
pub(super) const ALL: &[(&str, &str)] = &[
    (CREATE, "Plans a statement for repeated execution with parameters"),
    (CLOSE, "Forgets a prepared statement"),
    (CANCEL, "Stops working on a result"),
    (CANCEL_QUERY, "Stops working on a result (older form)"),
    (RENEW, "Extends the time in which a ticket can be redeemed"),
    (SET_OPTIONS, "Sets options of the session: catalog, schema"),
    (GET_OPTIONS, "Reads the options of the session"),
    (CLOSE_SESSION, "Ends the session"),
];

/// What an action answers.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub bodies: Vec<Bytes>,
    pub cookie: Option<String>,
}

impl Outcome {
    fn one(body: impl Into<Bytes>) -> Self {
        Self { bodies: vec![body.into()], cookie: None }
    }
}

fn malformed(_: impl std::error::Error) -> Error {
    Error::Unsupported("a malformed action".to_owned())
}

/// Actions of Flight SQL are wrapped in `Any`; those of Flight itself are not.
fn unwrap<M: ProstMessageExt>(body: &[u8]) -> Result<M, Error> {
    let message = Any::decode(body).map_err(malformed)?.unpack().map_err(malformed)?;
    message.ok_or_else(|| Error::Unsupported("a malformed action".to_owned()))
}

impl<B: Backend> FlightSqlServer<B> {
    pub(super) async fn act(&self, caller: Caller, action: Action) -> Reply<Outcome> {
        let body = action.body.as_ref();
        match action.r#type.as_str() {
            CREATE => self.create_prepared(&caller, unwrap(body)?).await,
            CLOSE => {
                let request: ActionClosePreparedStatementRequest = unwrap(body)?;
                self.tickets.open_handle(&caller.scope, &request.prepared_statement_handle)?;
                Ok(Outcome::default())
            }
            CANCEL => {
                let request = CancelFlightInfoRequest::decode(body).map_err(malformed)?;
                let status = self.cancel(&caller, &request.info.unwrap_or_default())?;
                let result = CancelFlightInfoResult { status: status as i32 };
                Ok(Outcome::one(result.encode_to_vec()))
            }
            CANCEL_QUERY => {
                let request: ActionCancelQueryRequest = unwrap(body)?;
                let info = FlightInfo::decode(request.info).map_err(malformed)?;
                // Both enumerations number their values alike.
                let result = ActionCancelQueryResult { result: self.cancel(&caller, &info)? as i32 };
                Ok(Outcome::one(result.as_any().encode_to_vec()))
            }
            RENEW => {
                let request = RenewFlightEndpointRequest::decode(body).map_err(malformed)?;
                let ticket = request.endpoint.and_then(|endpoint| endpoint.ticket).ok_or(Error::Ticket)?;
                let statement = self.opened(&caller, &ticket)?.ok_or(Error::Ticket)?;
                Ok(Outcome::one(self.endpoint(statement)?.encode_to_vec()))
            }
            SET_OPTIONS => self.set_options(caller, SetSessionOptionsRequest::decode(body).map_err(malformed)?),
            GET_OPTIONS => Ok(Outcome::one(sessions::list(&caller.scope, &caller.session).encode_to_vec())),
            CLOSE_SESSION => Ok(Outcome {
                cookie: Some(sessions::CLOSED.to_owned()),
                ..Outcome::one(CloseSessionResult { status: 1 }.encode_to_vec())
            }),
            "BeginTransaction" | "EndTransaction" | "BeginSavepoint" | "EndSavepoint" => {
                Err(Error::Unsupported("a transaction".to_owned()).into())
            }
            "CreatePreparedSubstraitPlan" => Err(Error::Unsupported("a Substrait plan".to_owned()).into()),
            _ => Err(Error::Unsupported("this action".to_owned()).into()),
        }
    }

    async fn create_prepared(&self, caller: &Caller, request: ActionCreatePreparedStatementRequest) -> Reply<Outcome> {
        refuse_transaction(request.transaction_id.as_deref())?;
        let statement = Statement::new(&caller.scope, caller.session.clone(), request.query);
        let description = self.backend.describe(&caller.scope, &statement).await?;
        let result = ActionCreatePreparedStatementResult {
            prepared_statement_handle: self.tickets.handle(statement)?,
            dataset_schema: ipc(&description.schema)?,
            parameter_schema: ipc(&description.parameters)?,
        };
        Ok(Outcome::one(result.as_any().encode_to_vec()))
    }

    fn set_options(&self, caller: Caller, request: SetSessionOptionsRequest) -> Reply<Outcome> {
        let Caller { scope, mut session } = caller;
        let result = sessions::apply(&scope, &mut session, request);
        let cookie = sessions::write(&self.tickets, &scope, session)?;
        Ok(Outcome { cookie: Some(cookie), ..Outcome::one(result.encode_to_vec()) })
    }

    /// The caller's own statement behind a ticket; `None` when the ticket is for metadata.
    fn opened(&self, caller: &Caller, ticket: &Ticket) -> Result<Option<Statement>, Error> {
        match command(&ticket.ticket)? {
            Command::TicketStatementQuery(query) => {
                self.tickets.open_ticket(&caller.scope, &query.statement_handle).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn cancel(&self, caller: &Caller, info: &FlightInfo) -> Result<CancelStatus, Error> {
        let mut status = CancelStatus::NotCancellable;
        for ticket in info.endpoint.iter().filter_map(|endpoint| endpoint.ticket.as_ref()) {
            if let Some(statement) = self.opened(caller, ticket)?
                && self.running.cancel(statement.id)
            {
                status = CancelStatus::Cancelled;
            }
        }
        Ok(status)
    }
}
