//! Columns under construction.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Date32Builder, Float64Builder, Int64Builder, StringBuilder, TimestampMicrosecondBuilder,
};
use serde_json::Value;

use crate::domain::{ColumnKind, value};

/// Builds one column; every method that takes a value says whether it fitted.
pub enum ColumnBuilder {
    Boolean(BooleanBuilder),
    Int64(Int64Builder),
    Float64(Float64Builder),
    Date(Date32Builder),
    Timestamp(TimestampMicrosecondBuilder),
    Timestamptz(TimestampMicrosecondBuilder),
    String(StringBuilder),
}

/// Appends what a reading function made of a text.
macro_rules! take {
    ($builder:expr, $value:expr) => {
        match $value {
            Some(value) => {
                $builder.append_value(value);
                true
            }
            None => false,
        }
    };
}

impl ColumnBuilder {
    pub fn new(kind: ColumnKind) -> Self {
        match kind {
            ColumnKind::Boolean => Self::Boolean(BooleanBuilder::new()),
            ColumnKind::Int64 => Self::Int64(Int64Builder::new()),
            ColumnKind::Float64 => Self::Float64(Float64Builder::new()),
            ColumnKind::Date => Self::Date(Date32Builder::new()),
            ColumnKind::Timestamp => Self::Timestamp(TimestampMicrosecondBuilder::new()),
            ColumnKind::Timestamptz => {
                Self::Timestamptz(TimestampMicrosecondBuilder::new().with_data_type(ColumnKind::Timestamptz.arrow()))
            }
            ColumnKind::String => Self::String(StringBuilder::new()),
        }
    }

    #[must_use]
    pub fn text(&mut self, text: &str) -> bool {
        match self {
            Self::Boolean(b) => take!(b, value::boolean(text)),
            Self::Int64(b) => take!(b, value::int64(text)),
            Self::Float64(b) => take!(b, value::float64(text)),
            Self::Date(b) => take!(b, value::date(text)),
            Self::Timestamp(b) => take!(b, value::timestamp(text)),
            Self::Timestamptz(b) => take!(b, value::timestamptz(text)),
            Self::String(b) => take!(b, Some(text)),
        }
    }

    /// Arrays, objects, numbers and booleans in a text column are kept as their JSON text.
    #[must_use]
    pub fn json(&mut self, member: &Value) -> bool {
        match (self, member) {
            (this, Value::Null) => {
                this.null();
                true
            }
            (Self::Boolean(b), member) => take!(b, member.as_bool()),
            (Self::Int64(b), member) => take!(b, member.as_i64()),
            (Self::Float64(b), member) => take!(b, member.as_f64()),
            (Self::String(b), Value::String(text)) => take!(b, Some(text)),
            (Self::String(b), other) => take!(b, Some(other.to_string())),
            (this, Value::String(text)) => this.text(text),
            _ => false,
        }
    }

    pub fn null(&mut self) {
        match self {
            Self::Boolean(b) => b.append_null(),
            Self::Int64(b) => b.append_null(),
            Self::Float64(b) => b.append_null(),
            Self::Date(b) => b.append_null(),
            Self::Timestamp(b) | Self::Timestamptz(b) => b.append_null(),
            Self::String(b) => b.append_null(),
        }
    }

    /// The column so far; the builder begins again.
    pub fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Boolean(b) => Arc::new(b.finish()),
            Self::Int64(b) => Arc::new(b.finish()),
            Self::Float64(b) => Arc::new(b.finish()),
            Self::Date(b) => Arc::new(b.finish()),
            Self::Timestamp(b) | Self::Timestamptz(b) => Arc::new(b.finish()),
            Self::String(b) => Arc::new(b.finish()),
        }
    }
}

/// A value as it is quoted in a message.
pub fn excerpt(text: &str) -> String {
    const LONGEST: usize = 64;
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(LONGEST).collect();
    cut.push('…');
    cut
}
