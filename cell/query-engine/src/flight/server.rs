//! The gRPC service.

use std::sync::Arc;

use arrow_flight::flight_service_server::{FlightService, FlightServiceServer};
use arrow_flight::sql::Command;
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest, HandshakeResponse,
    PollInfo, PutResult, SchemaResult, Ticket,
};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use http::HeaderMap;
use kit::{Problem, Scope};
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use super::backend::{Backend, Messages};
use super::metadata::Metadata;
use super::running::Running;
use super::statement::Tickets;
use super::{actions, encode, info, sessions};
use crate::{Error, Limits, SessionOptions};

/// Largest message accepted, in bytes.
const MESSAGE_BYTES: usize = 16 * 1024 * 1024;

pub(super) type Reply<T> = Result<T, Problem>;
type Answer<T> = Result<Response<T>, Status>;

/// Who calls, and with which session.
#[derive(Debug)]
pub(super) struct Caller {
    pub scope: Scope,
    pub session: SessionOptions,
}

/// Flight SQL over a [`Backend`].
pub struct FlightSqlServer<B> {
    pub(super) backend: Arc<B>,
    pub(super) tickets: Tickets,
    pub(super) metadata: Metadata,
    pub(super) running: Running,
    pub(super) limits: Limits,
}

impl<B: Backend> FlightSqlServer<B> {
    pub fn new(backend: Arc<B>, tickets: Tickets, limits: Limits) -> Result<Self, Error> {
        let metadata = Metadata::new(limits.statement_seconds)?;
        Ok(Self { backend, tickets, metadata, running: Running::default(), limits })
    }

    /// The gRPC service, ready to be mounted.
    pub fn into_service(self) -> FlightServiceServer<Self> {
        FlightServiceServer::new(self).max_decoding_message_size(MESSAGE_BYTES)
    }

    pub(super) fn caller(&self, metadata: &MetadataMap) -> Result<Caller, Status> {
        let headers: HeaderMap = metadata.clone().into_headers();
        let scope = self.backend.admit(&headers).map_err(refused)?;
        info::may_query(&scope).map_err(|error| Problem::from(error).to_status())?;
        let session = sessions::read(&self.tickets, &scope, &headers);
        Ok(Caller { scope, session })
    }

    async fn messages(&self, caller: &Caller, ticket: Ticket) -> Result<Messages, Status> {
        let scope = &caller.scope;
        let command = info::command(&ticket.ticket).map_err(own)?;
        if let Command::TicketStatementQuery(query) = &command {
            let statement = self.tickets.open_ticket(scope, &query.statement_handle).map_err(own)?;
            let messages = self.backend.run(scope, &statement, &ticket).await?;
            return Ok(self.running.watch(statement.id, messages));
        }
        self.described(scope, command).await.map_err(refused)
    }

    async fn described(&self, scope: &Scope, command: Command) -> Reply<Messages> {
        match self.metadata.rows(self.backend.source().as_ref(), scope, command).await? {
            Some(rows) => Ok(encode(rows.schema(), stream::iter([Ok(rows)]).boxed())),
            None => Err(Error::Ticket.into()),
        }
    }
}

fn own(error: Error) -> Status {
    refused(error.into())
}

fn refused(problem: Problem) -> Status {
    problem.to_status()
}

#[tonic::async_trait]
impl<B: Backend> FlightService for FlightSqlServer<B> {
    type HandshakeStream = BoxStream<'static, Result<HandshakeResponse, Status>>;
    type ListFlightsStream = BoxStream<'static, Result<FlightInfo, Status>>;
    type DoGetStream = Messages;
    type DoPutStream = BoxStream<'static, Result<PutResult, Status>>;
    type DoExchangeStream = BoxStream<'static, Result<FlightData, Status>>;
    type DoActionStream = BoxStream<'static, Result<arrow_flight::Result, Status>>;
    type ListActionsStream = BoxStream<'static, Result<ActionType, Status>>;

    /// Signs nobody in: it confirms the bearer token the call came with, for clients that insist on
    /// a handshake.
    async fn handshake(&self, request: Request<Streaming<HandshakeRequest>>) -> Answer<Self::HandshakeStream> {
        self.caller(request.metadata())?;
        let bearer = request.metadata().get("authorization").cloned();
        let answer = HandshakeResponse { protocol_version: 0, payload: Default::default() };
        let mut response = Response::new(stream::iter([Ok(answer)]).boxed());
        if let Some(bearer) = bearer {
            response.metadata_mut().insert("authorization", bearer);
        }
        Ok(response)
    }

    /// Tables are listed by `GetTables`; there are no other flights.
    async fn list_flights(&self, request: Request<Criteria>) -> Answer<Self::ListFlightsStream> {
        self.caller(request.metadata())?;
        Ok(Response::new(stream::empty().boxed()))
    }

    async fn get_flight_info(&self, request: Request<FlightDescriptor>) -> Answer<FlightInfo> {
        let caller = self.caller(request.metadata())?;
        self.flight_info(&caller, request.into_inner()).await.map(Response::new).map_err(refused)
    }

    /// Planning is all there is to wait for, so the first poll is the last.
    async fn poll_flight_info(&self, request: Request<FlightDescriptor>) -> Answer<PollInfo> {
        let caller = self.caller(request.metadata())?;
        let info = self.flight_info(&caller, request.into_inner()).await.map_err(refused)?;
        let expiration_time = info.endpoint.first().and_then(|endpoint| endpoint.expiration_time);
        Ok(Response::new(PollInfo { info: Some(info), flight_descriptor: None, progress: Some(1.0), expiration_time }))
    }

    async fn get_schema(&self, request: Request<FlightDescriptor>) -> Answer<SchemaResult> {
        let caller = self.caller(request.metadata())?;
        let schema = self.schema_of(&caller, request.into_inner()).await.map_err(refused)?;
        Ok(Response::new(SchemaResult { schema }))
    }

    async fn do_get(&self, request: Request<Ticket>) -> Answer<Self::DoGetStream> {
        let caller = self.caller(request.metadata())?;
        self.messages(&caller, request.into_inner()).await.map(Response::new)
    }

    async fn do_put(&self, request: Request<Streaming<FlightData>>) -> Answer<Self::DoPutStream> {
        let caller = self.caller(request.metadata())?;
        let result = self.put(&caller, request.into_inner()).await.map_err(refused)?;
        Ok(Response::new(stream::iter([Ok(result)]).boxed()))
    }

    async fn do_exchange(&self, request: Request<Streaming<FlightData>>) -> Answer<Self::DoExchangeStream> {
        self.caller(request.metadata())?;
        Err(Status::unimplemented("Flight SQL has no exchange"))
    }

    async fn do_action(&self, request: Request<Action>) -> Answer<Self::DoActionStream> {
        let caller = self.caller(request.metadata())?;
        let outcome = self.act(caller, request.into_inner()).await.map_err(refused)?;
        let bodies = outcome.bodies.into_iter().map(|body| Ok(arrow_flight::Result { body }));
        let mut response = Response::new(stream::iter(bodies.collect::<Vec<_>>()).boxed());
        if let Some(cookie) = outcome.cookie.and_then(|text| text.parse().ok()) {
            response.metadata_mut().insert("set-cookie", cookie);
        }
        Ok(response)
    }

    async fn list_actions(&self, request: Request<Empty>) -> Answer<Self::ListActionsStream> {
        self.caller(request.metadata())?;
        let all = actions::ALL.iter().map(|(name, description)| {
            Ok(ActionType { r#type: (*name).to_owned(), description: (*description).to_owned() })
        });
        Ok(Response::new(stream::iter(all).boxed()))
    }
}
