//! Rows as Flight messages.

use arrow_flight::FlightData;
use arrow_flight::encode::{DictionaryHandling, FlightDataEncoderBuilder};
use arrow_flight::error::FlightError;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::ipc::{MessageHeader, root_as_message};
use datafusion::arrow::record_batch::RecordBatch;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use kit::Problem;
use tonic::Status;

use super::backend::Messages;
use crate::{Error, Result};

/// Encodes batch by batch as the transport asks for more: a slow reader stops the statement from
/// running ahead.
pub fn encode(schema: SchemaRef, rows: BoxStream<'static, Result<RecordBatch>>) -> Messages {
    let rows = rows.map_err(|error| FlightError::ExternalError(Box::new(error)));
    FlightDataEncoderBuilder::new()
        .with_schema(schema)
        // Not flattened: the schema sent is the schema announced.
        .with_dictionary_handling(DictionaryHandling::Resend)
        .build(rows)
        .map_err(status)
        .boxed()
}

fn status(error: FlightError) -> Status {
    match error {
        FlightError::Tonic(status) => *status,
        FlightError::ExternalError(source) => match source.downcast::<Error>() {
            Ok(ours) => Problem::from(*ours).to_status(),
            Err(other) => Problem::from(Error::Engine(other)).to_status(),
        },
        other => Problem::from(Error::Engine(Box::new(other))).to_status(),
    }
}

/// Rows in a message; none in one that is not a record batch.
pub fn count_rows(message: &FlightData) -> u64 {
    let Ok(header) = root_as_message(&message.data_header) else { return 0 };
    if header.header_type() != MessageHeader::RecordBatch {
        return 0;
    }
    header.header_as_record_batch().map_or(0, |batch| u64::try_from(batch.length()).unwrap_or(0))
}
