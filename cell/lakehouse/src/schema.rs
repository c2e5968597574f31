//! Columns, between Arrow and Iceberg.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema, SchemaRef, TimeUnit};
use iceberg::spec::Schema;

use crate::error::{Error, Result};

/// An Iceberg schema with fresh field ids, level by level from 1. Types Iceberg has no word for are
/// widened where no value can change: unsigned and small integers, coarse timestamps, half floats,
/// dictionaries, views.
pub fn from_arrow(schema: &ArrowSchema) -> Result<Schema> {
    let widened = ArrowSchema::new(schema.fields().iter().map(|field| widen(field)).collect::<Vec<Field>>());
    Ok(iceberg::arrow::arrow_schema_to_schema_auto_assign_ids(&widened)?)
}

/// The Arrow schema of a table's columns; every field carries its Iceberg id as Parquet field id.
pub fn to_arrow(schema: &Schema) -> Result<SchemaRef> {
    Ok(Arc::new(iceberg::arrow::schema_to_arrow_schema(schema)?))
}

fn widen(field: &Field) -> Field {
    Field::new(field.name(), widened(field.data_type()), field.is_nullable())
}

fn widened(kind: &DataType) -> DataType {
    match kind {
        DataType::Int8 | DataType::Int16 | DataType::UInt8 | DataType::UInt16 => DataType::Int32,
        DataType::UInt32 => DataType::Int64,
        DataType::UInt64 => DataType::Decimal128(20, 0),
        DataType::Float16 => DataType::Float32,
        DataType::Null => DataType::Utf8,
        DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary => DataType::Binary,
        DataType::Date64 => DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Time32(_) | DataType::Time64(_) => DataType::Time64(TimeUnit::Microsecond),
        // Iceberg v2 knows microseconds only; a zone other than UTC is kept as an instant.
        DataType::Timestamp(_, None) => DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Timestamp(_, Some(_)) => DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
        DataType::Dictionary(_, value) => widened(value),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::FixedSizeList(item, _) => DataType::List(Arc::new(widen(item))),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(|field| widen(field)).collect()),
        DataType::Map(entries, sorted) => DataType::Map(Arc::new(widen(entries)), *sorted),
        other => other.clone(),
    }
}

/// The batch with exactly the table's columns, by name: cast without loss, missing optional
/// columns as nulls. A column the table does not have is an error, never dropped.
pub fn conform(batch: &RecordBatch, table: &SchemaRef) -> Result<RecordBatch> {
    let given = batch.schema();
    if let Some(stray) = given.fields().iter().find(|field| table.column_with_name(field.name()).is_none()) {
        return Err(Error::Schema(format!("the table has no column '{}'", stray.name())));
    }
    let columns = table.fields().iter().map(|field| column(batch, field)).collect::<Result<Vec<ArrayRef>>>()?;
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(table.clone(), columns, &options)?)
}

fn column(batch: &RecordBatch, field: &Field) -> Result<ArrayRef> {
    let array = match batch.column_by_name(field.name()) {
        None => new_null_array(field.data_type(), batch.num_rows()),
        Some(array) if array.data_type() == field.data_type() => array.clone(),
        Some(array) => {
            let strict = CastOptions { safe: false, ..CastOptions::default() };
            cast_with_options(array, field.data_type(), &strict).map_err(|_| {
                Error::Schema(format!(
                    "column '{}' holds {} where the table has {}",
                    field.name(),
                    array.data_type(),
                    field.data_type()
                ))
            })?
        }
    };
    if !field.is_nullable() && array.null_count() > 0 {
        return Err(Error::Schema(format!("column '{}' is required and has nulls", field.name())));
    }
    Ok(array)
}
