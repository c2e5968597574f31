//! Rows over HTTP: parameters from JSON, results as NDJSON.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, NullArray, RecordBatch, StringArray};
use arrow::datatypes::{Field, Schema};
use arrow::json::WriterBuilder;
use arrow::json::writer::LineDelimited;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use query_engine::flight::Messages;
use serde_json::Value;

use crate::error::Error;

/// A result as NDJSON, one piece per batch.
pub type Lines = BoxStream<'static, Result<Bytes, FlightError>>;

/// One row of parameters, `$1` first.
pub fn parameters(values: &[Value]) -> Result<RecordBatch, Error> {
    let columns: Vec<ArrayRef> =
        values.iter().enumerate().map(|(n, value)| column(n, value)).collect::<Result<_, _>>()?;
    let fields: Vec<Field> = columns
        .iter()
        .enumerate()
        .map(|(n, column)| Field::new(format!("${}", n + 1), column.data_type().clone(), true))
        .collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(Error::Json)
}

fn column(index: usize, value: &Value) -> Result<ArrayRef, Error> {
    let refused = || Error::Parameter(index + 1);
    Ok(match value {
        Value::Null => Arc::new(NullArray::new(1)),
        Value::Bool(value) => Arc::new(BooleanArray::from(vec![*value])),
        Value::String(value) => Arc::new(StringArray::from(vec![value.as_str()])),
        Value::Number(number) => match number.as_i64() {
            Some(value) => Arc::new(Int64Array::from(vec![value])),
            None => Arc::new(Float64Array::from(vec![number.as_f64().ok_or_else(refused)?])),
        },
        Value::Array(_) | Value::Object(_) => return Err(refused()),
    })
}

/// One JSON object per row and line. A failure ends the stream with an error, so that the HTTP body
/// breaks off instead of looking complete.
pub fn lines(messages: Messages) -> Lines {
    FlightRecordBatchStream::new_from_flight_data(messages.map_err(FlightError::from))
        .map(|batch| Ok(Bytes::from(json(&batch?)?)))
        .boxed()
}

fn json(batch: &RecordBatch) -> Result<Vec<u8>, FlightError> {
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(Vec::new());
    writer.write(batch)?;
    writer.finish()?;
    Ok(writer.into_inner())
}
