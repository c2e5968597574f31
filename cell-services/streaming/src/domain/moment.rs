//! Texts that stand for days and times.
//!
//! The sink's parser is generous: it moves a zone's time to UTC, cuts a time off a day and digits
//! below a microsecond off a time. What it would change is refused here.

use arrow::compute::kernels::cast_utils::{Parser, string_to_timestamp_nanos};
use arrow::datatypes::Date32Type;

/// `YYYY-MM-DD`.
pub fn is_date(text: &str) -> bool {
    text.len() == 10 && Date32Type::parse(text).is_some()
}

/// A time without a zone.
pub fn is_timestamp(text: &str) -> bool {
    is_instant(text) && !text.bytes().skip(11).any(|byte| !byte.is_ascii_digit() && !b":.".contains(&byte))
}

/// A time that its zone, or UTC, fixes.
pub fn is_instant(text: &str) -> bool {
    string_to_timestamp_nanos(text).is_ok_and(|nanos| nanos % 1_000 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_passes_that_the_table_could_not_keep() {
        assert!(is_date("2013-01-31"));
        for bad in ["2013-02-30", "2013-01-31T23:59:59-05:00", "2013-01-31 00:00:00", "20130131", ""] {
            assert!(!is_date(bad), "{bad}");
        }
        for good in ["2013-01-01T10:00:00", "2013-01-01 10:00:00.123456", "2013-01-01"] {
            assert!(is_timestamp(good) && is_instant(good), "{good}");
        }
        for zoned in ["2013-01-01T10:00:00Z", "2013-01-01T10:00:00.5+05:00", "2013-01-01 10:00:00 -05:00"] {
            assert!(is_instant(zoned) && !is_timestamp(zoned), "{zoned}");
        }
        for bad in ["2013-01-01T10:00:00.123456789", "2013-01-01T10:00:00.1234561Z", "noon", "9999-01-01"] {
            assert!(!is_instant(bad) && !is_timestamp(bad), "{bad}");
        }
    }
}
