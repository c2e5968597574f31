//! `DoPut`: binding parameters. Everything else that is put would change something.

use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::sql::{Command, CommandStatementUpdate, DoPutPreparedStatementResult, DoPutUpdateResult};
use arrow_flight::{FlightData, PutResult};
use bytes::Bytes;
use datafusion::arrow::record_batch::RecordBatch;
use futures::{StreamExt, TryStreamExt, stream};
use prost::Message;
use tonic::Streaming;

use super::backend::Backend;
use super::info::{command, short};
use super::server::{Caller, FlightSqlServer, Reply};
use super::statement::Statement;
use crate::Error;

impl<B: Backend> FlightSqlServer<B> {
    pub(super) async fn put(&self, caller: &Caller, mut messages: Streaming<FlightData>) -> Reply<PutResult> {
        let missing = || Error::Unsupported("a put without a command".to_owned());
        let first = messages.message().await.map_err(unread)?.ok_or_else(missing)?;
        let descriptor = first.flight_descriptor.clone().ok_or_else(missing)?;
        match command(&descriptor.cmd)? {
            Command::CommandPreparedStatementQuery(query) => {
                let mut statement = self.tickets.open_handle(&caller.scope, &query.prepared_statement_handle)?;
                let batches = self.parameters(first, messages).await?;
                statement.bind(&batches, self.limits.parameters)?;
                let handle = self.tickets.handle(statement)?;
                let result = DoPutPreparedStatementResult { prepared_statement_handle: Some(handle) };
                Ok(PutResult { app_metadata: result.encode_to_vec().into() })
            }
            Command::CommandStatementUpdate(update) => {
                let CommandStatementUpdate { query, .. } = update;
                self.refuse_update(caller, Statement::new(&caller.scope, caller.session.clone(), query)).await
            }
            Command::CommandPreparedStatementUpdate(update) => {
                let statement = self.tickets.open_handle(&caller.scope, &update.prepared_statement_handle)?;
                self.refuse_update(caller, statement).await
            }
            Command::CommandStatementIngest(_) => Err(Error::ReadOnly("bulk ingestion".to_owned()).into()),
            other => Err(Error::Unsupported(format!("{} by put", short(other.type_url()))).into()),
        }
    }

    /// Says what is wrong with an update: that it is one, or that it is none. No row was changed
    /// either way, so a statement that only reads answers with a count of 0.
    async fn refuse_update(&self, caller: &Caller, statement: Statement) -> Reply<PutResult> {
        self.backend.describe(&caller.scope, &statement).await?;
        let result = DoPutUpdateResult { record_count: 0 };
        Ok(PutResult { app_metadata: Bytes::from(result.encode_to_vec()) })
    }

    async fn parameters(&self, first: FlightData, rest: Streaming<FlightData>) -> Result<Vec<RecordBatch>, Error> {
        let limit = self.limits.parameters;
        let mut seen = 0;
        let rest = rest.map_err(FlightError::from);
        let messages = stream::iter([Ok(first)]).chain(rest).map(move |message: Result<FlightData, FlightError>| {
            let message = message?;
            seen += message.data_body.len();
            match seen > limit {
                true => Err(FlightError::ExternalError(Box::new(too_long(limit)))),
                false => Ok(message),
            }
        });
        let batches = FlightRecordBatchStream::new_from_flight_data(messages).try_collect::<Vec<_>>().await;
        batches.map_err(|error| match error {
            FlightError::ExternalError(_) => too_long(limit),
            other => Error::Parameters(other.to_string()),
        })
    }
}

fn too_long(limit: usize) -> Error {
    Error::TooLong { what: "the set of bound parameters", limit }
}

fn unread(status: tonic::Status) -> Error {
    Error::Parameters(status.message().to_owned())
}
