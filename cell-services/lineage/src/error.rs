//! What this service refuses, and how that reads.

use kit::database::DatabaseError;
use kit::fault::{Fault, Kind};
use kit::http::PageError;
use kit::scope::ScopeError;

use crate::domain::{DEEPEST, EventError};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("nothing is known of this node")]
    NoNode,
    #[error("give nodeId=dataset:<namespace>:<name>, nodeId=job:<namespace>:<name> or dataset=<schema>.<table>")]
    Node,
    #[error("depth is between 1 and {DEEPEST}")]
    Depth,
    #[error("runId is a UUID")]
    RunId,
    #[error("the event is not an OpenLineage run event: {0}")]
    Event(#[from] EventError),
    #[error("a stored event cannot be read")]
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

impl Error {
    pub fn stored(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Error::Stored(source.into())
    }
}

impl Fault for Error {
    fn kind(&self) -> Kind {
        match self {
            Error::NoNode => Kind::NotFound,
            Error::Node | Error::Depth | Error::RunId | Error::Event(_) => Kind::Invalid,
            Error::Stored(_) => Kind::Internal,
            Error::Database(error) => error.kind(),
            Error::Scope(error) => error.kind(),
            Error::Page(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Error::NoNode => "lineage/not-found",
            Error::Node => "lineage/node",
            Error::Depth => "lineage/depth",
            Error::RunId => "lineage/run-id",
            Error::Event(_) => "lineage/event",
            Error::Stored(_) => "lineage/stored",
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
