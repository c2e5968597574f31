//! Every call of Flight SQL, by those who may not make it.

use std::sync::Arc;

use anyhow::{Context, ensure};
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::{
    Any, CommandGetCatalogs, CommandGetCrossReference, CommandGetDbSchemas, CommandGetExportedKeys,
    CommandGetImportedKeys, CommandGetPrimaryKeys, CommandGetSqlInfo, CommandGetTableTypes, CommandGetTables,
    CommandGetXdbcTypeInfo, CommandPreparedStatementQuery, CommandStatementIngest, CommandStatementQuery,
    CommandStatementSubstraitPlan, CommandStatementUpdate, ProstMessageExt, TicketStatementQuery,
};
use arrow_flight::{Action, Criteria, Empty, FlightData, FlightDescriptor, HandshakeRequest, Ticket};
use futures::stream;
use prost::Message;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status, Streaming};

use crate::world::World;

/// Every command a client may put into a descriptor or a ticket.
fn commands(world: &World) -> Vec<(&'static str, Any)> {
    let table = || ("secrets".to_owned(), Some(world.neighbour.id.clone()));
    vec![
        ("catalogs", CommandGetCatalogs {}.as_any()),
        ("schemas", CommandGetDbSchemas::default().as_any()),
        ("tables", CommandGetTables::default().as_any()),
        ("table types", CommandGetTableTypes {}.as_any()),
        ("sql info", CommandGetSqlInfo::default().as_any()),
        ("type info", CommandGetXdbcTypeInfo::default().as_any()),
        ("primary keys", CommandGetPrimaryKeys { table: table().0, catalog: table().1, db_schema: None }.as_any()),
        ("exported keys", CommandGetExportedKeys { table: table().0, catalog: table().1, db_schema: None }.as_any()),
        ("imported keys", CommandGetImportedKeys { table: table().0, catalog: table().1, db_schema: None }.as_any()),
        ("cross reference", CommandGetCrossReference::default().as_any()),
        ("statement", CommandStatementQuery { query: "select 1".to_owned(), transaction_id: None }.as_any()),
        ("update", CommandStatementUpdate { query: "delete from x".to_owned(), transaction_id: None }.as_any()),
        ("plan", CommandStatementSubstraitPlan::default().as_any()),
        ("ingest", CommandStatementIngest::default().as_any()),
        ("prepared", CommandPreparedStatementQuery { prepared_statement_handle: "x".into() }.as_any()),
        ("ticket", TicketStatementQuery { statement_handle: "x".into() }.as_any()),
    ]
}

/// Actions of Flight SQL and of Flight.
const ACTIONS: [&str; 12] = [
    "CreatePreparedStatement",
    "ClosePreparedStatement",
    "CreatePreparedSubstraitPlan",
    "CancelQuery",
    "CancelFlightInfo",
    "RenewFlightEndpoint",
    "BeginTransaction",
    "EndTransaction",
    "BeginSavepoint",
    "SetSessionOptions",
    "GetSessionOptions",
    "CloseSession",
];

struct Visitor {
    client: FlightServiceClient<Channel>,
    bearer: Option<String>,
}

impl Visitor {
    fn request<T>(&self, message: T) -> anyhow::Result<Request<T>> {
        let mut request = Request::new(message);
        if let Some(bearer) = &self.bearer {
            request.metadata_mut().insert("authorization", format!("Bearer {bearer}").parse()?);
        }
        Ok(request)
    }

    /// What every call was told, one after the other.
    async fn ask_everything(
        &mut self,
        commands: &[(&'static str, Any)],
    ) -> anyhow::Result<Vec<(String, Result<(), Status>)>> {
        let mut told = Vec::new();
        for (name, command) in commands {
            let descriptor = FlightDescriptor::new_cmd(command.encode_to_vec());
            let (info, ticket) = (self.request(descriptor.clone())?, Ticket::new(command.encode_to_vec()));
            told.push((format!("info of {name}"), self.client.get_flight_info(info).await.map(drop)));
            let poll = self.request(descriptor.clone())?;
            told.push((format!("poll of {name}"), self.client.poll_flight_info(poll).await.map(drop)));
            let schema = self.request(descriptor.clone())?;
            told.push((format!("schema of {name}"), self.client.get_schema(schema).await.map(drop)));
            let get = self.request(ticket)?;
            told.push((format!("get of {name}"), first(self.client.do_get(get).await).await));
            let put = self.request(stream::iter([FlightData::new().with_descriptor(descriptor)]))?;
            told.push((format!("put of {name}"), first(self.client.do_put(put).await).await));
        }
        for action in ACTIONS {
            let request = self.request(Action::new(action, Vec::new()))?;
            told.push((format!("action {action}"), first(self.client.do_action(request).await).await));
        }
        let request = self.request(Empty {})?;
        told.push(("list of actions".to_owned(), first(self.client.list_actions(request).await).await));
        let request = self.request(Criteria::default())?;
        told.push(("list of flights".to_owned(), first(self.client.list_flights(request).await).await));
        let request = self.request(stream::iter([HandshakeRequest::default()]))?;
        told.push(("handshake".to_owned(), first(self.client.handshake(request).await).await));
        let request = self.request(stream::iter([FlightData::new()]))?;
        told.push(("exchange".to_owned(), first(self.client.do_exchange(request).await).await));
        Ok(told)
    }
}

/// A stream's refusal may come as its first message.
async fn first<T>(answer: Result<Response<Streaming<T>>, Status>) -> Result<(), Status> {
    answer?.into_inner().message().await.map(drop)
}

/// Without a good token every call ends before anything is looked at.
pub async fn no_call_is_answered_without_a_token(world: Arc<World>) -> anyhow::Result<()> {
    let mut tampered = world.acme.token();
    tampered.replace_range(tampered.len() - 6.., "AAAAAA");
    let bare = world.member(&world.acme, &["datasets:read"]).await?.token();
    for (who, bearer, code) in [
        ("nobody", None, Code::Unauthenticated),
        ("a token that is none", Some("nonsense".to_owned()), Code::Unauthenticated),
        ("a token with another signature", Some(tampered), Code::Unauthenticated),
        ("the administrator of the global plane", Some(world.admin.token()), Code::Unauthenticated),
        ("a member without sql:read", Some(bare), Code::PermissionDenied),
    ] {
        refused_everything(&world, who, bearer, code).await?;
    }
    Ok(())
}

/// Every call of the bearer's is refused with this code, or as forbidden.
pub async fn refused_everything(world: &World, who: &str, bearer: Option<String>, code: Code) -> anyhow::Result<()> {
    let channel = Endpoint::from_shared(format!("http://{}", world.site.flight()))?.connect().await?;
    let mut visitor = Visitor { client: FlightServiceClient::new(channel), bearer };
    for (call, outcome) in visitor.ask_everything(&commands(world)).await? {
        let status = outcome.err().with_context(|| format!("{call} was answered for {who}"))?;
        let refused = status.code() == code || status.code() == Code::PermissionDenied;
        ensure!(refused, "{call} for {who}: {:?} {}", status.code(), status.message());
    }
    Ok(())
}
