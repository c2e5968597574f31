//! What a caller can be told.

use std::time::Duration;

use event_bus_control::ControlBusError;
use event_bus_data::BusError;
use kit::database::DatabaseError;
use kit::http::PageError;
use kit::http::idempotency::BadKey;
use kit::scope::ScopeError;
use kit::{Fault, Kind};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no such stream")]
    NoStream,
    #[error("the stream has no such schema version")]
    NoSchema,
    #[error("a stream of that name exists")]
    NameTaken,
    #[error("{0}")]
    Schema(String),
    /// Version v+1 may only add nullable fields.
    #[error("{0}")]
    Incompatible(String),
    #[error("records come as application/x-ndjson or application/vnd.apache.arrow.stream")]
    MediaType,
    #[error(transparent)]
    IdempotencyKey(#[from] BadKey),
    #[error("the Idempotency-Key was used for a batch with another body")]
    KeyReused,
    #[error("a batch with this Idempotency-Key is being taken at the moment")]
    BatchOpen,
    #[error("the body ended early or came too slowly")]
    Body,
    #[error("the Arrow stream cannot be read: {0}")]
    Arrow(String),
    #[error("onError=abort: row {row} was refused")]
    Aborted { row: u64, outcome: serde_json::Value },
    #[error("as many tails are open as the tenant may have")]
    TooManyTails,
    #[error("a limit is between 1 and 10000")]
    Limit,
    #[error("the service is stopping")]
    Stopping,
    #[error("a stored schema cannot be read")]
    Stored(#[source] serde_json::Error),
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    DataBus(#[from] BusError),
    #[error(transparent)]
    ControlBus(#[from] ControlBusError),
    #[error(transparent)]
    Scope(#[from] ScopeError),
    #[error(transparent)]
    Page(#[from] PageError),
}

impl Fault for Error {
    fn kind(&self) -> Kind {
        match self {
            Error::NoStream | Error::NoSchema => Kind::NotFound,
            Error::NameTaken | Error::BatchOpen => Kind::Conflict,
            Error::Schema(_)
            | Error::Incompatible(_)
            | Error::MediaType
            | Error::IdempotencyKey(_)
            | Error::KeyReused
            | Error::Body
            | Error::Arrow(_)
            | Error::Limit
            | Error::Aborted { .. } => Kind::Invalid,
            Error::TooManyTails => Kind::TooMany,
            Error::Stopping => Kind::Unavailable,
            Error::Stored(_) => Kind::Internal,
            Error::Database(e) => e.kind(),
            Error::DataBus(e) => e.kind(),
            Error::ControlBus(e) => e.kind(),
            Error::Scope(e) => e.kind(),
            Error::Page(e) => e.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Error::NoStream => "streaming/not-found",
            Error::NoSchema => "streaming/schema-not-found",
            Error::NameTaken => "streaming/name-taken",
            Error::Schema(_) => "streaming/schema",
            Error::Incompatible(_) => "streaming/schema-incompatible",
            Error::MediaType => "streaming/media-type",
            Error::IdempotencyKey(_) => "streaming/idempotency-key",
            Error::KeyReused => "streaming/idempotency-key-reused",
            Error::BatchOpen => "streaming/batch-open",
            Error::Body => "streaming/body",
            Error::Arrow(_) => "streaming/arrow",
            Error::Aborted { .. } => "streaming/aborted",
            Error::TooManyTails => "streaming/too-many-tails",
            Error::Limit => "streaming/limit",
            Error::Stopping => "streaming/stopping",
            Error::Stored(_) => "streaming/stored",
            Error::Database(e) => e.code(),
            Error::DataBus(e) => e.code(),
            Error::ControlBus(e) => e.code(),
            Error::Scope(e) => e.code(),
            Error::Page(e) => e.code(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Error::BatchOpen | Error::TooManyTails => Some(Duration::from_secs(2)),
            Error::DataBus(e) => e.retry_after(),
            _ => None,
        }
    }

    fn generation_required(&self) -> Option<contracts::Generation> {
        match self {
            Error::Database(e) => e.generation_required(),
            _ => None,
        }
    }

    fn extension(&self) -> Option<(&'static str, serde_json::Value)> {
        match self {
            Error::Aborted { outcome, .. } => Some(("batch", outcome.clone())),
            _ => None,
        }
    }
}
