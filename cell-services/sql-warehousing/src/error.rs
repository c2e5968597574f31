//! What this service refuses, and how that reads.

use std::time::Duration;

use kit::fault::{Fault, Kind};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the pool is busy: no statement could begin within {} s", .0.as_secs())]
    Busy(Duration),
}

impl Fault for Error {
    fn kind(&self) -> Kind {
        match self {
            Error::Busy(_) => Kind::TooMany,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Error::Busy(_) => "sql/pool-busy",
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Error::Busy(_) => Some(Duration::from_secs(2)),
        }
    }
}
