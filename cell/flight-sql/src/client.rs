//! The client: statements, metadata, cancellation.

use arrow::record_batch::RecordBatch;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::{
    CommandGetCatalogs, CommandGetDbSchemas, CommandGetPrimaryKeys, CommandGetSqlInfo, CommandGetTableTypes,
    CommandGetTables, CommandStatementQuery, ProstMessageExt,
};
use arrow_flight::{
    Action, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightData, FlightDescriptor, FlightInfo,
    Ticket,
};
use bytes::Bytes;
use futures::stream::BoxStream;
use http::HeaderMap;
use prost::Message;
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue, MetadataMap};
use tonic::transport::Channel;
use tonic::{Request, Streaming};

use crate::{Error, Prepared, Result, Results, results};

/// Largest message accepted, in bytes: a server sends batches of about 2 MiB, but one row may be
/// larger than that.
const MESSAGE_BYTES: usize = 64 * 1024 * 1024;

/// Cheap to clone; all clones share one connection.
#[derive(Debug, Clone)]
pub struct Client {
    inner: FlightServiceClient<Channel>,
    metadata: MetadataMap,
}

impl Client {
    pub fn new(channel: Channel) -> Self {
        let inner = FlightServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES);
        Self { inner, metadata: MetadataMap::new() }
    }

    /// Sends `authorization: Bearer <token>` with every call.
    pub fn with_bearer(self, token: &str) -> Result<Self> {
        self.with_header("authorization", &format!("Bearer {token}"))
    }

    pub fn with_header(mut self, name: &str, value: &str) -> Result<Self> {
        let refused = || Error::Header(name.to_owned());
        let key: AsciiMetadataKey = name.parse().map_err(|_| refused())?;
        let mut value: AsciiMetadataValue = value.parse().map_err(|_| refused())?;
        value.set_sensitive(name == "authorization");
        self.metadata.insert(key, value);
        Ok(self)
    }

    /// Adds every header, for example a `Scope`'s.
    pub fn with_headers(mut self, headers: HeaderMap) -> Self {
        let mut all = std::mem::take(&mut self.metadata).into_headers();
        all.extend(headers);
        self.metadata = MetadataMap::from_headers(all);
        self
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        *request.metadata_mut() = self.metadata.clone();
        request
    }

    /// Runs a statement; rows follow as they are computed.
    pub async fn execute(&self, sql: &str) -> Result<Results> {
        let info = self.info(CommandStatementQuery { query: sql.to_owned(), transaction_id: None }).await?;
        Results::new(self.clone(), info)
    }

    /// Plans a statement for repeated execution with parameters.
    pub async fn prepare(&self, sql: &str) -> Result<Prepared> {
        Prepared::create(self.clone(), sql).await
    }

    pub async fn catalogs(&self) -> Result<Vec<RecordBatch>> {
        self.metadata(CommandGetCatalogs {}).await
    }

    pub async fn schemas(&self, filter: CommandGetDbSchemas) -> Result<Vec<RecordBatch>> {
        self.metadata(filter).await
    }

    pub async fn tables(&self, filter: CommandGetTables) -> Result<Vec<RecordBatch>> {
        self.metadata(filter).await
    }

    pub async fn table_types(&self) -> Result<Vec<RecordBatch>> {
        self.metadata(CommandGetTableTypes {}).await
    }

    pub async fn primary_keys(&self, table: CommandGetPrimaryKeys) -> Result<Vec<RecordBatch>> {
        self.metadata(table).await
    }

    /// All of the server's capabilities when `info` is empty.
    pub async fn sql_info(&self, info: Vec<u32>) -> Result<Vec<RecordBatch>> {
        self.metadata(CommandGetSqlInfo { info }).await
    }

    async fn metadata<M: ProstMessageExt>(&self, command: M) -> Result<Vec<RecordBatch>> {
        let info = self.info(command).await?;
        Results::new(self.clone(), info)?.collect().await
    }

    /// `GetFlightInfo` for any Flight SQL command.
    pub async fn info<M: ProstMessageExt>(&self, command: M) -> Result<FlightInfo> {
        let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
        Ok(self.inner.clone().get_flight_info(self.request(descriptor)).await?.into_inner())
    }

    /// The rows behind a ticket.
    pub async fn fetch(&self, ticket: Ticket) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        Ok(results::decode(self.fetch_raw(ticket).await?))
    }

    /// The messages behind a ticket, not decoded: for a server that passes them on.
    pub async fn fetch_raw(&self, ticket: Ticket) -> Result<Streaming<FlightData>> {
        Ok(self.inner.clone().do_get(self.request(ticket)).await?.into_inner())
    }

    /// Asks the server to stop working on a result.
    pub async fn cancel(&self, info: FlightInfo) -> Result<CancelStatus> {
        let request = CancelFlightInfoRequest { info: Some(info) };
        let answer = self.action("CancelFlightInfo", request.encode_to_vec().into()).await?;
        let body = answer.first().ok_or(Error::Incomplete("a cancel result"))?;
        Ok(CancelFlightInfoResult::decode(body.clone())?.status())
    }

    pub(crate) async fn action(&self, kind: &str, body: Bytes) -> Result<Vec<Bytes>> {
        let action = Action { r#type: kind.to_owned(), body };
        let mut answers = self.inner.clone().do_action(self.request(action)).await?.into_inner();
        let mut bodies = Vec::new();
        while let Some(answer) = answers.message().await? {
            bodies.push(answer.body);
        }
        Ok(bodies)
    }

    pub(crate) async fn put(&self, messages: Vec<FlightData>) -> Result<Option<Bytes>> {
        let request = self.request(futures::stream::iter(messages));
        let mut answers = self.inner.clone().do_put(request).await?.into_inner();
        Ok(answers.message().await?.map(|answer| answer.app_metadata))
    }
}
