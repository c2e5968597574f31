//! The wall clock, in one place.

use time::OffsetDateTime;

/// Seconds since 1970-01-01T00:00:00Z.
pub fn unix_seconds() -> i64 {
    OffsetDateTime::now_utc().unix_timestamp()
}
