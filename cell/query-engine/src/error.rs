//! What a statement can fail with, and what its author gets to read.

use std::time::Duration;

use datafusion::arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use kit::{Fault, Kind};

type Source = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text does not parse or does not bind.
    #[error("{0}")]
    Statement(String),
    #[error("{0} is refused: SQL here reads, it does not change anything")]
    ReadOnly(String),
    #[error("{0}")]
    TableNotFound(String),
    #[error("{0} is not supported")]
    Unsupported(String),
    #[error("{0}")]
    Parameters(String),
    /// The rows themselves made the statement fail: a division by zero, a failed cast.
    #[error("{0}")]
    Data(String),
    #[error("the statement needs more memory than it may use: {0}")]
    Memory(String),
    #[error("the statement ran longer than {} s", .0.as_secs())]
    Timeout(Duration),
    #[error("the statement was cancelled")]
    Cancelled,
    #[error("the ticket or handle is not valid here")]
    Ticket,
    #[error("the ticket has expired: run the statement again")]
    TicketExpired,
    #[error("{0}")]
    Session(String),
    #[error("{what} is longer than {limit} bytes")]
    TooLong { what: &'static str, limit: usize },
    #[error("the catalog could not be read")]
    Catalog {
        kind: Kind,
        #[source]
        source: Source,
    },
    #[error("the table's data could not be read")]
    Storage(#[source] Source),
    #[error("the statement could not be executed")]
    Engine(#[source] Source),
}

impl Error {
    /// A catalog's refusal keeps its kind: a catalog that is away is not a statement that is wrong.
    pub fn catalog(fault: impl Fault + Send + Sync + 'static) -> Self {
        Error::Catalog { kind: fault.kind(), source: Box::new(fault) }
    }
}

impl From<DataFusionError> for Error {
    fn from(error: DataFusionError) -> Self {
        match error {
            DataFusionError::External(source) => match source.downcast::<Error>() {
                Ok(ours) => *ours,
                Err(other) => Error::Engine(other),
            },
            DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => Error::from(*inner),
            DataFusionError::Collection(mut all) => match all.is_empty() {
                true => Error::Engine("an empty collection of errors".into()),
                false => Error::from(all.swap_remove(0)),
            },
            DataFusionError::ArrowError(inner, _) => from_arrow(*inner),
            other => by_root(other),
        }
    }
}

fn by_root(error: DataFusionError) -> Error {
    let text = || error.find_root().strip_backtrace();
    match error.find_root() {
        DataFusionError::SQL(..) | DataFusionError::Plan(_) | DataFusionError::SchemaError(..) => {
            Error::Statement(plain(&text()))
        }
        DataFusionError::Configuration(_) => Error::Statement(plain(&text())),
        DataFusionError::NotImplemented(message) => Error::Unsupported(message.clone()),
        DataFusionError::Execution(message) => Error::Data(message.clone()),
        DataFusionError::ResourcesExhausted(message) => Error::Memory(plain(message)),
        DataFusionError::ArrowError(inner, _) if is_about_data(inner) => Error::Data(inner.to_string()),
        DataFusionError::ObjectStore(_) | DataFusionError::ParquetError(_) | DataFusionError::IoError(_) => {
            Error::Storage(Box::new(error))
        }
        _ => Error::Engine(Box::new(error)),
    }
}

fn from_arrow(error: ArrowError) -> Error {
    match error {
        ArrowError::ExternalError(source) => match source.downcast::<DataFusionError>() {
            Ok(inner) => Error::from(*inner),
            Err(other) => Error::Engine(other),
        },
        data if is_about_data(&data) => Error::Data(data.to_string()),
        other => Error::Engine(Box::new(other)),
    }
}

fn is_about_data(error: &ArrowError) -> bool {
    matches!(
        error,
        ArrowError::DivideByZero
            | ArrowError::ArithmeticOverflow(_)
            | ArrowError::CastError(_)
            | ArrowError::ParseError(_)
            | ArrowError::ComputeError(_)
            | ArrowError::InvalidArgumentError(_)
    )
}

/// Drops the engine's own prefix and its advice to its developers.
fn plain(text: &str) -> String {
    let first = text.split("\n\n").next().unwrap_or(text);
    for prefix in ["Error during planning: ", "SQL error: ", "Schema error: ", "Execution error: "] {
        if let Some(rest) = first.strip_prefix(prefix) {
            return rest.to_owned();
        }
    }
    first.to_owned()
}

impl Fault for Error {
    fn kind(&self) -> Kind {
        match self {
            Error::Statement(_) | Error::Unsupported(_) | Error::Parameters(_) | Error::Data(_) => Kind::Invalid,
            Error::ReadOnly(_) | Error::Session(_) => Kind::Invalid,
            Error::TableNotFound(_) | Error::Ticket => Kind::NotFound,
            Error::Memory(_) | Error::TooLong { .. } => Kind::TooLarge,
            Error::Timeout(_) => Kind::Timeout,
            Error::Cancelled => Kind::Conflict,
            Error::TicketExpired => Kind::Precondition,
            Error::Catalog { kind, .. } => *kind,
            Error::Storage(_) => Kind::Unavailable,
            Error::Engine(_) => Kind::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Error::Statement(_) => "sql/statement",
            Error::ReadOnly(_) => "sql/read-only",
            Error::TableNotFound(_) => "sql/table-not-found",
            Error::Unsupported(_) => "sql/unsupported",
            Error::Parameters(_) => "sql/parameters",
            Error::Data(_) => "sql/data",
            Error::Memory(_) => "sql/memory-limit",
            Error::Timeout(_) => "sql/timeout",
            Error::Cancelled => "sql/cancelled",
            Error::Ticket => "sql/ticket",
            Error::TicketExpired => "sql/ticket-expired",
            Error::Session(_) => "sql/session",
            Error::TooLong { .. } => "sql/too-long",
            Error::Catalog { .. } => "sql/catalog",
            Error::Storage(_) => "sql/storage",
            Error::Engine(_) => "sql/engine",
        }
    }
}
