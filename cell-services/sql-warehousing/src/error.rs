//! What this service refuses, and how that reads.

use std::time::Duration;

use kit::fault::{Fault, Kind};
use kit::turns::NoTurn;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the pool is busy: {0}")]
    Busy(#[from] NoTurn),
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
