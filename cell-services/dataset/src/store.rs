//! The only SQL of this service. Every call runs in a transaction that its scope has opened.

pub mod datasets;
pub mod transactions;

pub use datasets::Dataset;
pub use transactions::{FileRow, Transaction};

use crate::error::Error;

/// Postgres has no unsigned integers; none of ours comes near the limit.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(crate) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// A row that this version of the service cannot have written.
pub(crate) fn foreign(what: &'static str) -> Error {
    Error::stored(what)
}
