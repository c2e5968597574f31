//! What this service refuses, and how that reads.

use kit::database::DatabaseError;
use kit::fault::{Fault, Kind};
use kit::http::PageError;
use kit::scope::ScopeError;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0} is a moment as in 2026-01-31T12:00:00Z")]
    Moment(&'static str),
    #[error("a stored entry cannot be read")]
    Stored(#[source] Box<dyn std::error::Error + Send + Sync>),
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
            Error::Moment(_) => Kind::Invalid,
            Error::Stored(_) => Kind::Internal,
            Error::Database(error) => error.kind(),
            Error::Scope(error) => error.kind(),
            Error::Page(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Error::Moment(_) => "audit/moment",
            Error::Stored(_) => "audit/stored",
            Error::Database(error) => error.code(),
            Error::Scope(error) => error.code(),
            Error::Page(error) => error.code(),
        }
    }

    fn generation_required(&self) -> Option<contracts::Generation> {
        match self {
            Error::Database(error) => error.generation_required(),
            _ => None,
        }
    }
}
