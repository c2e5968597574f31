//! JSON rows into the table's columns.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field as ArrowField, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use arrow::json::ReaderBuilder;

use crate::domain::round::StreamRows;
use crate::domain::{Field, FieldKind, OFFSET_COLUMN, PARTITION_COLUMN};

/// Rows decoded at once.
const CHUNK: usize = 16 * 1024;

/// Batches with the table's columns, and the rows that are none of them with the reason.
#[derive(Debug, Default)]
pub struct Decoded {
    pub batches: Vec<RecordBatch>,
    pub bad: Vec<(usize, String)>,
}

/// Columns of a stream's table: the stream's own, then where each row came from.
pub fn table_schema(fields: &[Field]) -> Schema {
    let own = fields.iter().map(|f| ArrowField::new(&f.name, data_type(f.kind), f.nullable));
    let ours = [
        ArrowField::new(PARTITION_COLUMN, DataType::Int32, false),
        ArrowField::new(OFFSET_COLUMN, DataType::Int64, false),
    ];
    Schema::new(own.chain(ours).collect::<Vec<_>>())
}

fn data_type(kind: FieldKind) -> DataType {
    match kind {
        FieldKind::Boolean => DataType::Boolean,
        FieldKind::Int32 => DataType::Int32,
        FieldKind::Int64 => DataType::Int64,
        FieldKind::Float32 => DataType::Float32,
        FieldKind::Float64 => DataType::Float64,
        FieldKind::String => DataType::Utf8,
        FieldKind::Date => DataType::Date32,
        FieldKind::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
        FieldKind::Timestamptz => DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
    }
}

/// Decodes the rows at `keep` into batches of `table`'s columns (it has the two of ours).
pub fn decode(rows: &StreamRows, keep: &[usize], table: &SchemaRef) -> Result<Decoded, ArrowError> {
    let own: Vec<ArrowField> =
        table.fields().iter().filter(|f| !is_ours(f.name())).map(|f| f.as_ref().clone()).collect();
    let own = Arc::new(Schema::new(own));
    let mut decoded = Decoded::default();
    for chunk in keep.chunks(CHUNK) {
        match read(rows, chunk, &own) {
            Ok(batch) => decoded.batches.push(with_places(&batch, rows, chunk, table)?),
            Err(_) => one_by_one(rows, chunk, &own, table, &mut decoded)?,
        }
    }
    Ok(decoded)
}

fn is_ours(name: &str) -> bool {
    name == PARTITION_COLUMN || name == OFFSET_COLUMN
}

/// Finds the rows at fault, then decodes the others together.
fn one_by_one(
    rows: &StreamRows,
    chunk: &[usize],
    own: &SchemaRef,
    table: &SchemaRef,
    decoded: &mut Decoded,
) -> Result<(), ArrowError> {
    let mut good = Vec::with_capacity(chunk.len());
    for at in chunk {
        match read(rows, &[*at], own) {
            Ok(_) => good.push(*at),
            Err(error) => decoded.bad.push((*at, error.to_string())),
        }
    }
    if !good.is_empty() {
        decoded.batches.push(with_places(&read(rows, &good, own)?, rows, &good, table)?);
    }
    Ok(())
}

fn read(rows: &StreamRows, chunk: &[usize], own: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    // One more than there should be, so that a row that holds two objects is noticed.
    let mut decoder = ReaderBuilder::new(own.clone()).with_batch_size(chunk.len() + 1).build_decoder()?;
    for at in chunk {
        let row = rows.row(*at);
        if decoder.decode(row)? != row.len() {
            return Err(ArrowError::JsonError("a row is one JSON object".to_owned()));
        }
    }
    match decoder.flush()? {
        Some(batch) if batch.num_rows() == chunk.len() => Ok(batch),
        _ => Err(ArrowError::JsonError("a row is one JSON object".to_owned())),
    }
}

fn with_places(
    batch: &RecordBatch,
    rows: &StreamRows,
    chunk: &[usize],
    table: &SchemaRef,
) -> Result<RecordBatch, ArrowError> {
    let partitions: Int32Array = chunk.iter().map(|at| rows.places[*at].partition).collect::<Vec<_>>().into();
    let offsets: Int64Array = chunk.iter().map(|at| rows.places[*at].offset).collect::<Vec<_>>().into();
    let (partitions, offsets): (ArrayRef, ArrayRef) = (Arc::new(partitions), Arc::new(offsets));
    let column = |field: &Arc<ArrowField>| match field.name().as_str() {
        PARTITION_COLUMN => Ok(partitions.clone()),
        OFFSET_COLUMN => Ok(offsets.clone()),
        name => batch.column_by_name(name).cloned().ok_or_else(|| ArrowError::SchemaError(format!("no column {name}"))),
    };
    let columns = table.fields().iter().map(column).collect::<Result<Vec<_>, _>>()?;
    RecordBatch::try_new(table.clone(), columns)
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
    use contracts::{Generation, TenantId};
    use uuid::Uuid;

    use super::*;
    use crate::domain::Place;
    use crate::domain::round::{Labels, Round};

    fn rows(lines: &[&str]) -> StreamRows {
        let mut round = Round::default();
        for (offset, line) in (10..).zip(lines) {
            let labels = Labels {
                tenant: TenantId::new("acme").unwrap(),
                stream: Uuid::nil(),
                schema_version: 1,
                generation: Generation(1),
                trace: None,
            };
            round.take(labels, Place { partition: 2, offset }, line.as_bytes(), None);
        }
        round.streams.pop_first().unwrap().1
    }

    fn schema() -> SchemaRef {
        let field = |name: &str, kind, nullable| Field { name: name.to_owned(), kind, nullable };
        Arc::new(table_schema(&[
            field("id", FieldKind::Int64, false),
            field("name", FieldKind::String, true),
            field("day", FieldKind::Date, true),
            field("at", FieldKind::Timestamptz, true),
        ]))
    }

    #[test]
    fn rows_become_columns_with_their_places() {
        let rows = rows(&[
            r#"{"id":1,"name":"é\n","day":"2013-01-31","at":"2013-01-01T05:00:00-05:00"}"#,
            r#"{"at":"2013-01-01 05:00:00","id":2}"#,
            r#"{"id":3,"name":null}"#,
        ]);
        let decoded = decode(&rows, &[0, 2], &schema()).unwrap();
        assert!(decoded.bad.is_empty());
        let batch = &decoded.batches[0];
        assert_eq!(batch.column_by_name("id").unwrap().as_primitive::<Int64Type>().values(), &[1, 3]);
        assert_eq!(batch.column_by_name(OFFSET_COLUMN).unwrap().as_primitive::<Int64Type>().values(), &[10, 12]);
        let at = batch.column_by_name("at").unwrap().as_primitive::<TimestampMicrosecondType>();
        assert_eq!(at.value(0), 1_357_034_400_000_000);
    }

    #[test]
    fn a_bad_row_is_named_and_the_others_are_kept() {
        let lines = [r#"{"id":1}"#, r#"{"id":"x"}"#, "{}", r#"{"id":2}{"id":3}"#, "not json", r#"{"id":4}"#];
        let decoded = decode(&rows(&lines), &[0, 1, 2, 3, 4, 5], &schema()).unwrap();
        let bad: Vec<usize> = decoded.bad.iter().map(|(at, _)| *at).collect();
        assert_eq!(bad, [1, 2, 3, 4]);
        assert_eq!(decoded.batches[0].column_by_name("id").unwrap().as_primitive::<Int64Type>().values(), &[1, 4]);
    }
}
