//! What this service refuses, and how that reads.

use std::time::Duration;

use kit::database::DatabaseError;
use kit::fault::{Fault, Kind};
use kit::http::PageError;
use kit::scope::ScopeError;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the tenant has {0} statements running already")]
    Concurrency(usize),
    #[error("the tenant makes more calls than it may")]
    Rate(Duration),
    #[error("statements cannot be recorded at the moment, so none can begin")]
    HistoryFull,
    #[error("the compute pool cannot be reached")]
    PoolAway,
    #[error("parameter {0} is neither a number, a text, a boolean nor null")]
    Parameter(usize),
    #[error("a row could not be written as JSON")]
    Json(#[source] arrow::error::ArrowError),
    #[error(transparent)]
    Engine(#[from] query_engine::Error),
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Scope(#[from] ScopeError),
    #[error(transparent)]
    Page(#[from] PageError),
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Error::Database(error.into())
    }
}

impl Fault for Error {
    fn kind(&self) -> Kind {
        match self {
            Error::Concurrency(_) | Error::Rate(_) => Kind::TooMany,
            Error::HistoryFull | Error::PoolAway => Kind::Unavailable,
            Error::Parameter(_) => Kind::Invalid,
            Error::Json(_) => Kind::Internal,
            Error::Engine(error) => error.kind(),
            Error::Database(error) => error.kind(),
            Error::Scope(error) => error.kind(),
            Error::Page(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Error::Concurrency(_) => "sql/concurrency-limit",
            Error::Rate(_) => "sql/rate-limit",
            Error::HistoryFull => "sql/history-full",
            Error::PoolAway => "sql/pool-unavailable",
            Error::Parameter(_) => "sql/parameters",
            Error::Json(_) => "sql/json",
            Error::Engine(error) => error.code(),
            Error::Database(error) => error.code(),
            Error::Scope(error) => error.code(),
            Error::Page(error) => error.code(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Error::Concurrency(_) => Some(Duration::from_secs(1)),
            Error::Rate(wait) => Some(*wait),
            Error::HistoryFull | Error::PoolAway => Some(Duration::from_secs(2)),
            _ => None,
        }
    }

    fn generation_required(&self) -> Option<contracts::Generation> {
        match self {
            Error::Database(error) => error.generation_required(),
            Error::Engine(error) => error.generation_required(),
            _ => None,
        }
    }
}
