//! Columns as users see and declare them.

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use iceberg::spec::{PrimitiveType, Type};
use serde::{Deserialize, Serialize};

/// Types that text formats can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ColumnKind {
    Boolean,
    Int64,
    Float64,
    /// Days.
    Date,
    /// Microseconds, without a zone.
    Timestamp,
    /// Microseconds, an instant in UTC.
    Timestamptz,
    String,
}

impl ColumnKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::Int64 => "int64",
            Self::Float64 => "float64",
            Self::Date => "date",
            Self::Timestamp => "timestamp",
            Self::Timestamptz => "timestamptz",
            Self::String => "string",
        }
    }

    pub fn arrow(self) -> DataType {
        match self {
            Self::Boolean => DataType::Boolean,
            Self::Int64 => DataType::Int64,
            Self::Float64 => DataType::Float64,
            Self::Date => DataType::Date32,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::Timestamptz => DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
            Self::String => DataType::Utf8,
        }
    }

    /// The kind that text for an existing column is read as; the table narrows it afterwards
    /// without loss or refuses. `None`: text formats cannot fill such a column.
    pub fn of_iceberg(kind: &Type) -> Option<Self> {
        let Type::Primitive(primitive) = kind else { return None };
        match primitive {
            PrimitiveType::Boolean => Some(Self::Boolean),
            PrimitiveType::Int | PrimitiveType::Long => Some(Self::Int64),
            PrimitiveType::Float | PrimitiveType::Double => Some(Self::Float64),
            PrimitiveType::Date => Some(Self::Date),
            PrimitiveType::Timestamp => Some(Self::Timestamp),
            PrimitiveType::Timestamptz => Some(Self::Timestamptz),
            PrimitiveType::String => Some(Self::String),
            _ => None,
        }
    }
}

/// A declared or inferred column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Column {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: ColumnKind,
    #[serde(default = "yes")]
    pub nullable: bool,
}

fn yes() -> bool {
    true
}

/// A column as it is shown; the type may be one that only Parquet files bring.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ColumnView {
    pub name: String,
    /// `boolean`, `int64`, `float64`, `date`, `timestamp`, `timestamptz`, `string`, or Iceberg's own word.
    #[serde(rename = "type")]
    pub kind: String,
    pub nullable: bool,
}

pub fn arrow_schema(columns: &[Column]) -> Schema {
    Schema::new(columns.iter().map(|c| Field::new(&c.name, c.kind.arrow(), c.nullable)).collect::<Vec<_>>())
}

pub fn view(schema: &iceberg::spec::Schema) -> Vec<ColumnView> {
    schema
        .as_struct()
        .fields()
        .iter()
        .map(|field| {
            let kind = match field.field_type.as_ref() {
                Type::Primitive(PrimitiveType::Int) => "int32".to_owned(),
                Type::Primitive(PrimitiveType::Float) => "float32".to_owned(),
                other => ColumnKind::of_iceberg(other).map_or_else(|| other.to_string(), |k| k.name().to_owned()),
            };
            ColumnView { name: field.name.clone(), kind, nullable: !field.required }
        })
        .collect()
}

/// The columns text is read into for an existing table. `Err` names the column that text cannot fill.
pub fn of_table(schema: &iceberg::spec::Schema) -> Result<Vec<Column>, String> {
    schema
        .as_struct()
        .fields()
        .iter()
        .map(|field| {
            let kind = ColumnKind::of_iceberg(&field.field_type).ok_or_else(|| field.name.clone())?;
            Ok(Column { name: field.name.clone(), kind, nullable: !field.required })
        })
        .collect()
}

/// What is wrong with a set of column names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ColumnsError {
    #[error("there is no column")]
    None,
    #[error("there are {0} columns; at most {1} are allowed")]
    TooMany(usize, usize),
    #[error("column {0} has no name")]
    Unnamed(usize),
    #[error("the name of column {0} is longer than 255 bytes or holds a control character")]
    Name(usize),
    #[error("two columns are called '{0}'")]
    Twice(String),
}

/// Names tell columns apart, whatever their case: SQL does not see it.
pub fn check_names<'a>(names: impl Iterator<Item = &'a str>, most: usize) -> Result<(), ColumnsError> {
    let mut seen = std::collections::HashSet::new();
    let mut count = 0;
    for name in names {
        count += 1;
        if name.is_empty() {
            return Err(ColumnsError::Unnamed(count));
        }
        if name.len() > 255 || name.chars().any(char::is_control) {
            return Err(ColumnsError::Name(count));
        }
        if !seen.insert(name.to_lowercase()) {
            return Err(ColumnsError::Twice(name.to_owned()));
        }
        if count > most {
            return Err(ColumnsError::TooMany(count, most));
        }
    }
    if count == 0 { Err(ColumnsError::None) } else { Ok(()) }
}
