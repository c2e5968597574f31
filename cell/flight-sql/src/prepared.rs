//! Prepared statements. The server keeps nothing: the handle carries the statement, sealed.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::sql::{
    ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult,
    Any, CommandPreparedStatementQuery, DoPutPreparedStatementResult, ProstMessageExt,
};
use arrow_flight::{FlightDescriptor, IpcMessage};
use bytes::Bytes;
use futures::TryStreamExt;
use prost::Message;

use crate::{Client, Error, Result, Results};

#[derive(Debug, Clone)]
pub struct Prepared {
    client: Client,
    handle: Bytes,
    dataset: SchemaRef,
    parameters: SchemaRef,
}

impl Prepared {
    pub(crate) async fn create(client: Client, sql: &str) -> Result<Self> {
        let request = ActionCreatePreparedStatementRequest { query: sql.to_owned(), transaction_id: None };
        let answers = client.action("CreatePreparedStatement", request.as_any().encode_to_vec().into()).await?;
        let body = answers.first().ok_or(Error::Incomplete("a prepared statement"))?;
        let result: ActionCreatePreparedStatementResult =
            Any::decode(body.clone())?.unpack()?.ok_or(Error::Incomplete("a prepared statement"))?;
        Ok(Self {
            client,
            handle: result.prepared_statement_handle,
            dataset: schema(result.dataset_schema)?,
            parameters: schema(result.parameter_schema)?,
        })
    }

    /// Schema of the rows an execution returns.
    pub fn dataset_schema(&self) -> &SchemaRef {
        &self.dataset
    }

    /// One field per parameter, in order.
    pub fn parameter_schema(&self) -> &SchemaRef {
        &self.parameters
    }

    pub async fn execute(&self) -> Result<Results> {
        self.run(self.handle.clone()).await
    }

    /// Runs once per row of `parameters`; results follow each other.
    pub async fn execute_with(&self, parameters: RecordBatch) -> Result<Results> {
        let command = CommandPreparedStatementQuery { prepared_statement_handle: self.handle.clone() };
        let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
        let messages = FlightDataEncoderBuilder::new()
            .with_schema(parameters.schema())
            .with_flight_descriptor(Some(descriptor))
            .build(futures::stream::iter([Ok::<_, FlightError>(parameters)]))
            .try_collect()
            .await?;
        let bound = match self.client.put(messages).await? {
            Some(answer) => DoPutPreparedStatementResult::decode(answer)?.prepared_statement_handle,
            None => None,
        };
        self.run(bound.unwrap_or_else(|| self.handle.clone())).await
    }

    async fn run(&self, handle: Bytes) -> Result<Results> {
        let info = self.client.info(CommandPreparedStatementQuery { prepared_statement_handle: handle }).await?;
        Results::new(self.client.clone(), info)
    }

    pub async fn close(self) -> Result<()> {
        let request = ActionClosePreparedStatementRequest { prepared_statement_handle: self.handle };
        self.client.action("ClosePreparedStatement", request.as_any().encode_to_vec().into()).await?;
        Ok(())
    }
}

fn schema(message: Bytes) -> Result<SchemaRef> {
    if message.is_empty() {
        return Ok(Arc::new(Schema::empty()));
    }
    Ok(Arc::new(Schema::try_from(IpcMessage(message))?))
}
