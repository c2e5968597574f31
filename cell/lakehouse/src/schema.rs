//! Columns, between Arrow and Iceberg.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, new_null_array};
use arrow::compute::{CastOptions, can_cast_types, cast_with_options};
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type, Schema as ArrowSchema, SchemaRef, TimeUnit};
use arrow::util::display::FormatOptions;
use iceberg::spec::Schema;

use crate::error::{Error, Result};

/// An Iceberg schema with fresh field ids, level by level from 1. Types Iceberg has no word for are
/// widened where no value can change: unsigned and small integers, coarse timestamps, half floats,
/// dictionaries, views.
pub fn from_arrow(schema: &ArrowSchema) -> Result<Schema> {
    let widened = ArrowSchema::new(schema.fields().iter().map(|field| widen(field)).collect::<Vec<Field>>());
    // What is wrong is the schema that was given, not metadata of ours.
    iceberg::arrow::arrow_schema_to_schema_auto_assign_ids(&widened)
        .map_err(|error| Error::Schema(error.message().to_owned()))
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
        Some(array) => cast(array, field)?,
    };
    if !field.is_nullable() && array.null_count() > 0 {
        return Err(Error::Schema(format!("column '{}' is required and has nulls", field.name())));
    }
    Ok(array)
}

fn cast(given: &ArrayRef, field: &Field) -> Result<ArrayRef> {
    let (from, to) = (given.data_type(), field.data_type());
    let refused =
        |what: &str| Error::Schema(format!("column '{}' {what} {from} where the table has {to}", field.name()));
    if let (DataType::Timestamp(_, from), DataType::Timestamp(_, to)) = (from, to)
        && from.is_some() != to.is_some()
    {
        // Which instant a time without a zone means, nobody here knows.
        return Err(refused("holds"));
    }
    let cast = cast_with_options(given, to, &STRICT).map_err(|_| refused("holds"))?;
    if is_kept(given, &cast) { Ok(cast) } else { Err(refused("has values that would change: it holds")) }
}

const STRICT: CastOptions<'static> = CastOptions { safe: false, format_options: FormatOptions::new() };

/// Whether the cast can be taken back. Arrow's casts cut what does not fit: fractions, digits below
/// a microsecond, digits a float has no room for.
fn is_kept(given: &ArrayRef, cast: &ArrayRef) -> bool {
    match (given.data_type(), cast.data_type()) {
        (DataType::Null, _) => true,
        // A float column rounds by nature, but what is finite stays so.
        (DataType::Float64, DataType::Float32) => {
            let (given, cast) = (given.as_primitive::<Float64Type>(), cast.as_primitive::<Float32Type>());
            given.iter().zip(cast).all(|(given, cast)| match (given, cast) {
                (Some(given), Some(cast)) => given.is_finite() == cast.is_finite(),
                _ => true,
            })
        }
        // A moment has many spellings; that it was read is enough.
        (from, to) if from.is_string() && to.is_temporal() => true,
        (from, to) if !can_cast_types(to, from) => true,
        (from, _) => cast_with_options(cast, from, &STRICT).is_ok_and(|back| back.to_data() == given.to_data()),
    }
}
