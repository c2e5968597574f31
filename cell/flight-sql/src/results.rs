//! A statement's rows, as they arrive.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use arrow_flight::FlightInfo;
use arrow_flight::decode::FlightRecordBatchStream;
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt, TryStreamExt};

use crate::{Client, Error, Result};

/// Record batches of all endpoints of a result, in the endpoints' order. Nothing is buffered
/// beyond one batch: a slow reader slows the server down.
pub struct Results {
    schema: SchemaRef,
    info: FlightInfo,
    batches: BoxStream<'static, Result<RecordBatch>>,
}

impl Results {
    pub(crate) fn new(client: Client, info: FlightInfo) -> Result<Self> {
        let schema = Arc::new(Schema::try_from(info.clone())?);
        let tickets: Vec<_> = info.endpoint.iter().filter_map(|e| e.ticket.clone()).collect();
        let batches = stream::iter(tickets)
            .then(move |ticket| {
                let client = client.clone();
                async move { client.fetch(ticket).await }
            })
            .try_flatten()
            .boxed();
        Ok(Self { schema, info, batches })
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// What the server said of the result before its first row, for example to cancel it.
    pub fn info(&self) -> &FlightInfo {
        &self.info
    }

    /// All batches at once; for results known to be small.
    pub async fn collect(self) -> Result<Vec<RecordBatch>> {
        self.batches.try_collect().await
    }
}

impl Stream for Results {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.batches.poll_next_unpin(context)
    }
}

/// Decodes a `DoGet` answer.
pub(crate) fn decode(data: tonic::Streaming<arrow_flight::FlightData>) -> BoxStream<'static, Result<RecordBatch>> {
    FlightRecordBatchStream::new_from_flight_data(data.map_err(Into::into)).map_err(Error::from).boxed()
}
