//! What can go wrong, and whether it goes away by itself.

use contracts::Generation;
use event_bus_data::BusError;
use kit::database::DatabaseError;
use kit::exchange::ExchangeError;
use kit::http::PageError;
use kit::scope::ScopeError;
use kit::{Fault, Kind};

use crate::domain::progress::ProgressError;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no such sink")]
    NoSink,
    #[error("streaming does not answer")]
    Streaming(#[from] ExchangeError),
    #[error("streaming's answer is not understood")]
    StreamingUnread(#[source] serde_json::Error),
    #[error("streaming answered {0}")]
    StreamingRefused(u16),
    #[error("the tenant has moved on, says streaming")]
    StreamingMisdirected(Option<Generation>),
    #[error("every name the table may have belongs to another stream")]
    NoTableName,
    #[error("the table's name belongs to another stream by now")]
    TableTaken,
    #[error("the table's columns do not fit the stream: {0}")]
    Columns(String),
    #[error(transparent)]
    Progress(#[from] ProgressError),
    #[error("the table's files could not be processed")]
    Panicked,
    #[error("the service is stopping")]
    Stopping,
    #[error(transparent)]
    Lakehouse(#[from] lakehouse::Error),
    #[error(transparent)]
    DataBus(#[from] BusError),
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Scope(#[from] ScopeError),
    #[error(transparent)]
    Page(#[from] PageError),
}

impl Error {
    /// Whether the rows themselves, or their table, are at fault: then waiting does not help, and
    /// one tenant's table must not hold back everybody's rows. A tenant can write to its own tables
    /// and to their files, so whatever is wrong in there is of the table. Everything else is away,
    /// and waited for.
    pub fn is_of_the_table(&self) -> bool {
        match self {
            Error::NoTableName | Error::TableTaken | Error::Columns(_) | Error::Progress(_) | Error::Panicked => true,
            Error::Lakehouse(e @ lakehouse::Error::Iceberg(_)) => e.kind() != Kind::Unavailable,
            Error::Lakehouse(e) => {
                matches!(e.kind(), Kind::Invalid | Kind::Forbidden | Kind::NotFound | Kind::TooLarge)
            }
            _ => false,
        }
    }
}

impl Fault for Error {
    fn kind(&self) -> Kind {
        match self {
            Error::NoSink => Kind::NotFound,
            Error::Streaming(_) | Error::Stopping => Kind::Unavailable,
            Error::StreamingRefused(_) | Error::StreamingUnread(_) | Error::Progress(_) | Error::Panicked => {
                Kind::Internal
            }
            Error::StreamingMisdirected(_) => Kind::Misdirected,
            Error::NoTableName | Error::TableTaken | Error::Columns(_) => Kind::Conflict,
            Error::Lakehouse(e) => e.kind(),
            Error::DataBus(e) => e.kind(),
            Error::Database(e) => e.kind(),
            Error::Scope(e) => e.kind(),
            Error::Page(e) => e.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Error::NoSink => "sink/not-found",
            Error::Streaming(_)
            | Error::StreamingRefused(_)
            | Error::StreamingUnread(_)
            | Error::StreamingMisdirected(_) => "sink/streaming",
            Error::NoTableName => "sink/no-table-name",
            Error::TableTaken => "sink/table-taken",
            Error::Columns(_) => "sink/columns",
            Error::Progress(_) => "sink/progress",
            Error::Panicked => "sink/panicked",
            Error::Stopping => "sink/stopping",
            Error::Lakehouse(e) => e.code(),
            Error::DataBus(e) => e.code(),
            Error::Database(e) => e.code(),
            Error::Scope(e) => e.code(),
            Error::Page(e) => e.code(),
        }
    }

    fn generation_required(&self) -> Option<Generation> {
        match self {
            Error::StreamingMisdirected(required) => *required,
            Error::Database(e) => e.generation_required(),
            Error::Lakehouse(e) => e.generation_required(),
            _ => None,
        }
    }
}
