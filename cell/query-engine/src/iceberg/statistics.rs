//! Iceberg's per-file metrics as the planner's statistics.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, SchemaRef, TimeUnit};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};
use iceberg::spec::{Datum, PrimitiveLiteral};
use lakehouse::scan::ScanFile;
use object_store::path::Path;
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;

/// Inclusive bounds of a column in one file. No value lies outside; a value need not lie on them,
/// because writers cut long strings short.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bounds {
    pub lower: Option<ScalarValue>,
    pub upper: Option<ScalarValue>,
    pub nulls: Option<u64>,
}

/// One data file, with its metrics by column of the table's schema.
#[derive(Debug, Clone)]
pub(crate) struct TableFile {
    pub path: Path,
    /// Bytes.
    pub size: u64,
    pub rows: u64,
    pub columns: Vec<Bounds>,
    pub statistics: Arc<Statistics>,
}

impl TableFile {
    pub fn new(file: &ScanFile, schema: &SchemaRef) -> Self {
        let mut columns = Vec::with_capacity(schema.fields().len());
        let mut statistics = Vec::with_capacity(schema.fields().len());
        for field in schema.fields() {
            let bounds = field_id(field).map(|id| bounds(file, id, field.data_type())).unwrap_or_default();
            statistics.push(column_statistics(&bounds, field, file));
            columns.push(bounds);
        }
        let statistics = Arc::new(Statistics {
            num_rows: Precision::Exact(usize::try_from(file.rows()).unwrap_or(usize::MAX)),
            total_byte_size: Precision::Inexact(usize::try_from(file.size()).unwrap_or(usize::MAX)),
            column_statistics: statistics,
        });
        Self { path: file.path.clone(), size: file.size(), rows: file.rows(), columns, statistics }
    }
}

/// Iceberg field id of an Arrow field.
pub(crate) fn field_id(field: &Field) -> Option<i32> {
    field.metadata().get(PARQUET_FIELD_ID_META_KEY)?.parse().ok()
}

fn bounds(file: &ScanFile, id: i32, kind: &DataType) -> Bounds {
    Bounds {
        lower: file.lower(id).and_then(|datum| scalar(datum, kind)),
        upper: file.upper(id).and_then(|datum| scalar(datum, kind)),
        nulls: file.nulls(id),
    }
}

fn column_statistics(bounds: &Bounds, field: &Field, file: &ScanFile) -> ColumnStatistics {
    let exact = is_tight(field, file);
    let precision = |value: &Option<ScalarValue>| match value {
        Some(value) if exact => Precision::Exact(value.clone()),
        Some(value) => Precision::Inexact(value.clone()),
        None => Precision::Absent,
    };
    let mut column = ColumnStatistics::new_unknown();
    column.min_value = precision(&bounds.lower);
    column.max_value = precision(&bounds.upper);
    if let Some(nulls) = bounds.nulls {
        column.null_count = Precision::Exact(usize::try_from(nulls).unwrap_or(usize::MAX));
    }
    if let Some(bytes) = field_id(field).and_then(|id| file.column_bytes(id)) {
        column.byte_size = Precision::Inexact(usize::try_from(bytes).unwrap_or(usize::MAX));
    }
    column
}

/// Whether the bounds are values of the column. Strings and bytes may be cut short; NaN is left out
/// of a float's bounds but counts in SQL's `max`.
fn is_tight(field: &Field, file: &ScanFile) -> bool {
    match field.data_type() {
        DataType::Float32 | DataType::Float64 => {
            field_id(field).and_then(|id| file.data_file().nan_value_counts().get(&id).copied()) == Some(0)
        }
        DataType::Boolean | DataType::Int32 | DataType::Int64 | DataType::Date32 => true,
        DataType::Time64(_) | DataType::Timestamp(..) | DataType::Decimal128(..) => true,
        _ => false,
    }
}

/// A bound as a value of the column's type, also when the column was widened since.
fn scalar(datum: &Datum, kind: &DataType) -> Option<ScalarValue> {
    use PrimitiveLiteral as L;
    let value = match (datum.literal(), kind) {
        (L::Boolean(v), DataType::Boolean) => ScalarValue::from(*v),
        (L::Int(v), DataType::Int32) => ScalarValue::from(*v),
        (L::Int(v), DataType::Int64) => ScalarValue::from(i64::from(*v)),
        (L::Long(v), DataType::Int64) => ScalarValue::from(*v),
        (L::Float(v), DataType::Float32) => ScalarValue::from(v.0),
        (L::Float(v), DataType::Float64) => ScalarValue::from(f64::from(v.0)),
        (L::Double(v), DataType::Float64) => ScalarValue::from(v.0),
        (L::String(v), DataType::Utf8) => ScalarValue::Utf8(Some(v.clone())),
        (L::String(v), DataType::LargeUtf8) => ScalarValue::LargeUtf8(Some(v.clone())),
        (L::Int(v), DataType::Date32) => ScalarValue::Date32(Some(*v)),
        (L::Long(v), DataType::Time64(TimeUnit::Microsecond)) => ScalarValue::Time64Microsecond(Some(*v)),
        (L::Long(v), DataType::Timestamp(TimeUnit::Microsecond, zone)) => {
            ScalarValue::TimestampMicrosecond(Some(*v), zone.clone())
        }
        (L::Long(v), DataType::Timestamp(TimeUnit::Nanosecond, zone)) => {
            ScalarValue::TimestampNanosecond(Some(*v), zone.clone())
        }
        (L::Int128(v), DataType::Decimal128(precision, scale)) => ScalarValue::Decimal128(Some(*v), *precision, *scale),
        _ => return None,
    };
    Some(value)
}
