//! The wall clock in seconds, as tokens have it.

use crate::nature;

/// Seconds since 1970-01-01T00:00:00Z.
pub fn unix_seconds() -> i64 {
    nature::now().unix_timestamp()
}
