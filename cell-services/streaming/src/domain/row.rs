//! Checks a JSON row against a schema in one pass, without building a tree of it.
//!
//! What passes here must never fail in the sink, nor change there: numbers are checked for range,
//! times with the very parser that reads them later.

use std::collections::HashMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::moment::{is_date, is_instant, is_timestamp};
use super::{FieldKind, Schema};

/// Errors told of one row.
const MAX_ERRORS_PER_ROW: usize = 8;
/// Longest piece of a caller's own text repeated in a message.
const MAX_ECHO: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    pub field: Option<String>,
    /// `json`, `not-an-object`, `unknown-field`, `duplicate-field`, `required`, `type`, `range`,
    /// `format`, `not-finite`, `too-long`.
    pub code: &'static str,
    pub message: String,
}

impl FieldError {
    pub fn of_row(code: &'static str, message: impl Into<String>) -> Self {
        Self { field: None, code, message: message.into() }
    }

    fn of(field: &str, code: &'static str, message: impl Into<String>) -> Self {
        Self { field: Some(field.to_owned()), code, message: message.into() }
    }
}

/// Reused from row to row.
pub struct RowCheck<'s> {
    schema: &'s Schema,
    by_name: HashMap<&'s str, usize>,
    /// Number of the row in which a field was last present.
    present: Vec<u64>,
    row: u64,
    errors: Vec<FieldError>,
}

impl<'s> RowCheck<'s> {
    pub fn new(schema: &'s Schema) -> Self {
        let by_name = schema.fields().iter().enumerate().map(|(at, f)| (f.name.as_str(), at)).collect();
        Self { schema, by_name, present: vec![0; schema.fields().len()], row: 0, errors: Vec::new() }
    }

    /// `Ok` if the row may go as it is.
    pub fn check(&mut self, line: &[u8]) -> Result<(), Vec<FieldError>> {
        self.row += 1;
        self.errors.clear();
        let mut reader = serde_json::Deserializer::from_slice(line);
        let read = RowSeed { check: self }.deserialize(&mut reader).and_then(|object| reader.end().map(|()| object));
        match read {
            Ok(true) => self.check_missing(),
            Ok(false) => self.errors = vec![FieldError::of_row("not-an-object", "a row is a JSON object")],
            Err(error) => {
                self.errors = vec![FieldError::of_row("json", format!("not JSON at column {}", error.column()))]
            }
        }
        if self.errors.is_empty() { Ok(()) } else { Err(std::mem::take(&mut self.errors)) }
    }

    fn check_missing(&mut self) {
        for (at, field) in self.schema.fields().iter().enumerate() {
            if !field.nullable && self.present[at] != self.row {
                push(&mut self.errors, FieldError::of(&field.name, "required", "a value is required"));
            }
        }
    }
}

fn push(errors: &mut Vec<FieldError>, error: FieldError) {
    if errors.len() < MAX_ERRORS_PER_ROW {
        errors.push(error);
    }
}

fn echo(text: &str) -> String {
    text.chars().take(MAX_ECHO).collect()
}

/// Reads the row's object; `false` for JSON that is no object.
struct RowSeed<'c, 's> {
    check: &'c mut RowCheck<'s>,
}

impl<'de> DeserializeSeed<'de> for RowSeed<'_, '_> {
    type Value = bool;
    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<bool, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for RowSeed<'_, '_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        let RowCheck { schema, by_name, present, row, errors } = self.check;
        let mut expected = 0;
        while let Some(found) = map.next_key_seed(KeySeed { schema, by_name, expected })? {
            let at = match found {
                Key::Known(at) => at,
                Key::Unknown(name) => {
                    map.next_value::<IgnoredAny>()?;
                    push(
                        errors,
                        FieldError {
                            field: Some(name),
                            code: "unknown-field",
                            message: "the schema has no such field".to_owned(),
                        },
                    );
                    continue;
                }
            };
            expected = at + 1;
            let field = &schema.fields()[at];
            let verdict = map.next_value_seed(ValueSeed(field.kind))?;
            if std::mem::replace(&mut present[at], *row) == *row {
                push(errors, FieldError::of(&field.name, "duplicate-field", "the field stands there twice"));
            }
            match verdict {
                Verdict::Good => {}
                Verdict::Null if field.nullable => {}
                Verdict::Null => push(errors, FieldError::of(&field.name, "required", "null is not allowed")),
                Verdict::Type(found) => {
                    push(
                        errors,
                        FieldError::of(&field.name, "type", format!("{} expected, {found} found", name_of(field.kind))),
                    );
                }
                Verdict::Range => push(
                    errors,
                    FieldError::of(&field.name, "range", format!("out of the range of {}", name_of(field.kind))),
                ),
                Verdict::Format(text) => {
                    push(
                        errors,
                        FieldError::of(
                            &field.name,
                            "format",
                            format!("{} expected, found {text:?}", name_of(field.kind)),
                        ),
                    );
                }
            }
        }
        Ok(true)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<bool, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(false)
    }

    fn visit_bool<E>(self, _: bool) -> Result<bool, E> {
        Ok(false)
    }
    fn visit_i64<E>(self, _: i64) -> Result<bool, E> {
        Ok(false)
    }
    fn visit_u64<E>(self, _: u64) -> Result<bool, E> {
        Ok(false)
    }
    fn visit_f64<E>(self, _: f64) -> Result<bool, E> {
        Ok(false)
    }
    fn visit_str<E>(self, _: &str) -> Result<bool, E> {
        Ok(false)
    }
    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(false)
    }
}

enum Key {
    Known(usize),
    Unknown(String),
}

struct KeySeed<'c, 's> {
    schema: &'c Schema,
    by_name: &'c HashMap<&'s str, usize>,
    /// Rows mostly keep the schema's order: try that field first.
    expected: usize,
}

impl<'de> DeserializeSeed<'de> for KeySeed<'_, '_> {
    type Value = Key;
    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Key, D::Error> {
        reader.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed<'_, '_> {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Key, E> {
        if self.schema.fields().get(self.expected).is_some_and(|f| f.name == name) {
            return Ok(Key::Known(self.expected));
        }
        Ok(self.by_name.get(name).map_or_else(|| Key::Unknown(echo(name)), |at| Key::Known(*at)))
    }
}

enum Verdict {
    Good,
    Null,
    /// What was found instead.
    Type(&'static str),
    Range,
    Format(String),
}

struct ValueSeed(FieldKind);

impl<'de> DeserializeSeed<'de> for ValueSeed {
    type Value = Verdict;
    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Verdict, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed {
    type Value = Verdict;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Verdict, E> {
        Ok(if self.0 == FieldKind::Boolean { Verdict::Good } else { Verdict::Type("boolean") })
    }

    fn visit_i64<E>(self, value: i64) -> Result<Verdict, E> {
        Ok(match self.0 {
            FieldKind::Int64 | FieldKind::Float32 | FieldKind::Float64 => Verdict::Good,
            FieldKind::Int32 if i32::try_from(value).is_ok() => Verdict::Good,
            FieldKind::Int32 => Verdict::Range,
            _ => Verdict::Type("number"),
        })
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Verdict, E> {
        match i64::try_from(value) {
            Ok(value) => self.visit_i64(value),
            Err(_) => Ok(match self.0 {
                FieldKind::Float32 | FieldKind::Float64 => Verdict::Good,
                FieldKind::Int32 | FieldKind::Int64 => Verdict::Range,
                _ => Verdict::Type("number"),
            }),
        }
    }

    fn visit_f64<E>(self, value: f64) -> Result<Verdict, E> {
        Ok(match self.0 {
            FieldKind::Float64 => Verdict::Good,
            FieldKind::Float32 if value.abs() <= f64::from(f32::MAX) => Verdict::Good,
            FieldKind::Float32 => Verdict::Range,
            FieldKind::Int32 | FieldKind::Int64 => Verdict::Type("number with a fraction or exponent"),
            _ => Verdict::Type("number"),
        })
    }

    fn visit_str<E>(self, text: &str) -> Result<Verdict, E> {
        let parses = match self.0 {
            FieldKind::String => true,
            FieldKind::Date => is_date(text),
            FieldKind::Timestamp => is_timestamp(text),
            FieldKind::Timestamptz => is_instant(text),
            _ => return Ok(Verdict::Type("string")),
        };
        Ok(if parses { Verdict::Good } else { Verdict::Format(echo(text)) })
    }

    fn visit_unit<E>(self) -> Result<Verdict, E> {
        Ok(Verdict::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Verdict, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Verdict::Type("array"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Verdict, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Verdict::Type("object"))
    }
}

fn name_of(kind: FieldKind) -> &'static str {
    match kind {
        FieldKind::Boolean => "boolean",
        FieldKind::Int32 => "int32",
        FieldKind::Int64 => "int64",
        FieldKind::Float32 => "float32",
        FieldKind::Float64 => "float64",
        FieldKind::String => "string",
        FieldKind::Date => "date (YYYY-MM-DD)",
        FieldKind::Timestamp => "timestamp (YYYY-MM-DDThh:mm:ss)",
        FieldKind::Timestamptz => "timestamp with zone (RFC 3339)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Field;

    fn schema() -> Schema {
        let field = |name: &str, kind, nullable| Field { name: name.to_owned(), kind, nullable };
        Schema::new(vec![
            field("id", FieldKind::Int64, false),
            field("small", FieldKind::Int32, true),
            field("ratio", FieldKind::Float64, true),
            field("single", FieldKind::Float32, true),
            field("name", FieldKind::String, true),
            field("flag", FieldKind::Boolean, true),
            field("day", FieldKind::Date, true),
            field("at", FieldKind::Timestamptz, true),
        ])
        .unwrap()
    }

    fn codes(line: &str) -> Vec<(Option<String>, &'static str)> {
        let schema = schema();
        let mut check = RowCheck::new(&schema);
        match check.check(line.as_bytes()) {
            Ok(()) => Vec::new(),
            Err(errors) => errors.into_iter().map(|e| (e.field, e.code)).collect(),
        }
    }

    #[test]
    fn good_rows_pass_in_any_order() {
        for good in [
            r#"{"id":1}"#,
            r#"{"at":"2013-01-01T10:00:00Z","id":-9223372036854775808,"name":"é\u0041"}"#,
            r#"{"id":1,"small":null,"ratio":1,"single":0.5,"name":"","flag":true,"day":"2013-01-31","at":"2013-01-01 05:00:00"}"#,
        ] {
            assert_eq!(codes(good), [], "{good}");
        }
    }

    #[test]
    fn each_way_to_be_wrong_has_its_code_and_field() {
        let one = |field: &str, code| vec![(Some(field.to_owned()), code)];
        for (bad, expected) in [
            ("{", vec![(None, "json")]),
            ("{} {}", vec![(None, "json")]),
            (r#"{"id":1e999}"#, vec![(None, "json")]),
            ("[1]", vec![(None, "not-an-object")]),
            ("null", vec![(None, "not-an-object")]),
            ("{}", one("id", "required")),
            (r#"{"id":null}"#, one("id", "required")),
            (r#"{"id":"1"}"#, one("id", "type")),
            (r#"{"id":1.0}"#, one("id", "type")),
            (r#"{"id":9223372036854775808}"#, one("id", "range")),
            (r#"{"id":1,"small":2147483648}"#, one("small", "range")),
            (r#"{"id":1,"single":1e300}"#, one("single", "range")),
            (r#"{"id":1,"name":{"a":[1]}}"#, one("name", "type")),
            (r#"{"id":1,"day":"2013-02-30"}"#, one("day", "format")),
            (r#"{"id":1,"at":"noon"}"#, one("at", "format")),
            (r#"{"id":1,"at":1}"#, one("at", "type")),
            (r#"{"id":1,"id":2}"#, one("id", "duplicate-field")),
            (r#"{"id":1,"x":{"y":1}}"#, one("x", "unknown-field")),
        ] {
            assert_eq!(codes(bad), expected, "{bad}");
        }
    }

    #[test]
    fn a_row_names_every_wrong_field_and_does_not_stain_the_next() {
        let schema = schema();
        let mut check = RowCheck::new(&schema);
        assert_eq!(check.check(br#"{"id":"a","flag":1}"#).unwrap_err().len(), 2);
        assert!(check.check(br#"{"id":1}"#).is_ok());
        assert!(check.check(b"{}").is_err());
    }
}
