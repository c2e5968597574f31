//! Streams and their schemas: pure types and decisions.

pub mod frames;
pub mod lines;
pub mod moment;
pub mod outcome;
pub mod row;

use serde::{Deserialize, Serialize};

/// A stream has at most so many fields.
const MAX_FIELDS: usize = 1000;
const MAX_NAME: usize = 63;
/// Columns the sink adds to the table begin so.
const RESERVED: &str = "_cyto";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum FieldKind {
    Boolean,
    Int32,
    Int64,
    Float32,
    Float64,
    String,
    /// Days; `YYYY-MM-DD`.
    Date,
    /// Microseconds without a zone; RFC 3339 without an offset.
    Timestamp,
    /// Microseconds UTC; RFC 3339.
    Timestamptz,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Field {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: FieldKind,
    #[serde(default = "nullable")]
    pub nullable: bool,
}

fn nullable() -> bool {
    true
}

/// Fields in order. Made only by [`Schema::new`] and [`Schema::grown`], so always well formed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    fields: Vec<Field>,
}

impl Schema {
    pub fn new(fields: Vec<Field>) -> Result<Self, String> {
        if fields.is_empty() || fields.len() > MAX_FIELDS {
            return Err(format!("a schema has 1 to {MAX_FIELDS} fields"));
        }
        let mut seen = std::collections::HashSet::new();
        for field in &fields {
            check_field_name(&field.name)?;
            // SQL and Iceberg readers compare names without case.
            if !seen.insert(field.name.to_ascii_lowercase()) {
                return Err(format!("field {} stands there twice", field.name));
            }
        }
        Ok(Self { fields })
    }

    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The next version: these fields, then new ones, which are nullable.
    pub fn grown(&self, fields: Vec<Field>) -> Result<Self, String> {
        let next = Schema::new(fields)?;
        for field in &self.fields {
            match next.fields.iter().find(|f| f.name == field.name) {
                Some(same) if same == field => {}
                Some(_) => return Err(format!("field {} may not change", field.name)),
                None => return Err(format!("field {} may not be left out", field.name)),
            }
        }
        let is_new = |field: &&Field| !self.fields.iter().any(|f| f.name == field.name);
        let added: Vec<Field> = next.fields.iter().filter(is_new).cloned().collect();
        if let Some(field) = added.iter().find(|f| !f.nullable) {
            return Err(format!("new field {} must be nullable: older rows lack it", field.name));
        }
        // Order is history: the table's columns only ever grow at the end.
        Schema::new(self.fields.iter().cloned().chain(added).collect())
    }
}

fn check_field_name(name: &str) -> Result<(), String> {
    let mut bytes = name.bytes();
    let begins = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    let goes_on = bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !begins || !goes_on || name.len() > MAX_NAME {
        return Err(format!("a field name is 1 to {MAX_NAME} letters, digits and '_', not beginning with a digit"));
    }
    if name.to_ascii_lowercase().starts_with(RESERVED) {
        return Err(format!("field names beginning with {RESERVED} are the platform's"));
    }
    Ok(())
}

/// A stream's name becomes its table's name, so it is an SQL name that needs no quotes.
pub fn check_stream_name(name: &str) -> Result<(), String> {
    let mut bytes = name.bytes();
    let begins = bytes.next().is_some_and(|b| b.is_ascii_lowercase());
    let goes_on = bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if begins && goes_on && name.len() <= MAX_NAME {
        Ok(())
    } else {
        Err(format!("a stream name is 1 to {MAX_NAME} of a-z, 0-9 and '_', beginning with a letter"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str, kind: FieldKind, nullable: bool) -> Field {
        Field { name: name.to_owned(), kind, nullable }
    }

    #[test]
    fn a_schema_refuses_names_that_would_collide() {
        let two =
            |a: &str, b: &str| Schema::new(vec![field(a, FieldKind::Int64, true), field(b, FieldKind::Int64, true)]);
        assert!(two("a", "b").is_ok());
        for (a, b) in [("a", "A"), ("a", "_cyto_offset"), ("a", "1b"), ("a", "b c"), ("a", "")] {
            assert!(two(a, b).is_err(), "{a} {b}");
        }
        assert!(Schema::new(Vec::new()).is_err());
    }

    #[test]
    fn a_schema_grows_only_by_nullable_fields_at_its_end() {
        let v1 = Schema::new(vec![field("a", FieldKind::Int64, false)]).unwrap();
        let (a, b) = (field("a", FieldKind::Int64, false), field("b", FieldKind::String, true));
        let v2 = v1.grown(vec![b.clone(), a.clone()]).unwrap();
        assert_eq!(v2.fields(), [a.clone(), b.clone()]);
        assert!(v1.grown(vec![b.clone()]).is_err());
        assert!(v1.grown(vec![field("a", FieldKind::Float64, false)]).is_err());
        assert!(v1.grown(vec![a, field("b", FieldKind::String, false)]).is_err());
    }

    #[test]
    fn a_stream_name_is_a_plain_sql_name() {
        for good in ["flights", "f", "a_1"] {
            assert!(check_stream_name(good).is_ok(), "{good}");
        }
        for bad in ["", "Flights", "1a", "a-b", "a.b", "a/b", &"a".repeat(64)] {
            assert!(check_stream_name(bad).is_err(), "{bad}");
        }
    }
}
