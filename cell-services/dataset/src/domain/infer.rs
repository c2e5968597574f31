//! The type of a column from a sample of its values.

use serde_json::Value;

use super::column::ColumnKind;
use super::value;

/// The types that still fit everything seen of one column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guess {
    seen: bool,
    boolean: bool,
    int64: bool,
    float64: bool,
    date: bool,
    timestamp: bool,
    timestamptz: bool,
}

impl Default for Guess {
    fn default() -> Self {
        Self { seen: false, boolean: true, int64: true, float64: true, date: true, timestamp: true, timestamptz: true }
    }
}

impl Guess {
    /// A field of a text format that is not a null.
    pub fn text(&mut self, text: &str) {
        self.seen = true;
        self.boolean &= value::boolean(text).is_some();
        self.int64 &= value::int64(text).is_some();
        self.float64 &= value::float64(text).is_some() && value::float_keeps(text);
        self.moment(text);
    }

    fn moment(&mut self, text: &str) {
        self.date &= value::date(text).is_some();
        self.timestamp &= value::timestamp(text).is_some();
        self.timestamptz &= value::timestamptz(text).is_some();
    }

    /// A member of a JSON row. Strings hold moments or text, never numbers or booleans: JSON has
    /// its own words for those. Arrays and objects become text.
    pub fn json(&mut self, member: &Value) {
        if member.is_null() {
            return;
        }
        self.seen = true;
        self.boolean &= member.is_boolean();
        self.int64 &= member.is_i64();
        self.float64 &= member.as_number().is_some_and(|number| value::float_keeps(&number.to_string()));
        match member {
            Value::String(text) => self.moment(text),
            _ => (self.date, self.timestamp, self.timestamptz) = (false, false, false),
        }
    }

    /// The narrowest type that fits; text, if nothing but nulls was seen.
    pub fn kind(&self) -> ColumnKind {
        let order = [
            (self.boolean, ColumnKind::Boolean),
            (self.int64, ColumnKind::Int64),
            (self.float64, ColumnKind::Float64),
            (self.date, ColumnKind::Date),
            (self.timestamp, ColumnKind::Timestamp),
            (self.timestamptz, ColumnKind::Timestamptz),
        ];
        order.into_iter().find(|(fits, _)| self.seen && *fits).map_or(ColumnKind::String, |(_, kind)| kind)
    }
}
