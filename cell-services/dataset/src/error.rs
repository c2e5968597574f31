//! What this service refuses, and how that reads.

use kit::database::DatabaseError;
use kit::fault::{Fault, Kind};
use kit::http::PageError;
use kit::http::idempotency::BadKey;
use kit::scope::ScopeError;
use kit::turns::NoTurn;
use serde_json::{Value, json};

use crate::domain::column::ColumnsError;
use crate::domain::name::NameError;

/// A value that does not fit its column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    pub file: String,
    /// 1 is the first row after the header.
    pub row: u64,
    pub column: String,
    pub expected: &'static str,
    /// The value, cut to 64 characters.
    pub value: String,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no such dataset")]
    NoDataset,
    #[error("there is no such transaction")]
    NoTransaction,
    #[error("the dataset has no such version")]
    NoVersion,
    #[error("a dataset of this name exists already")]
    NameTaken,
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("{0}")]
    Parameter(String),
    #[error("the dataset has an open transaction already: commit or abort it first")]
    TransactionOpen,
    #[error("the transaction has ended already")]
    TransactionEnded,
    #[error("the transaction is being committed at this moment")]
    CommitUnderWay,
    #[error(transparent)]
    IdempotencyKey(#[from] BadKey),
    #[error("the Idempotency-Key was used for another upload into this dataset")]
    KeyReused,
    #[error("the upload with this Idempotency-Key is under way")]
    UploadUnderWay,
    #[error("the transaction has no file")]
    Empty,
    #[error("the upload is longer than {limit} bytes")]
    TooLong { limit: u64 },
    #[error("the transaction has {limit} files already, which is the most")]
    TooManyFiles { limit: usize },
    #[error("the rows asked for have more than {limit} bytes: ask for fewer")]
    PreviewTooLong { limit: usize },
    #[error("the upload stopped before its end")]
    BrokenOff,
    #[error("{file}, row {row}, column '{column}': '{value}' is not {expected}", file = .0.file, row = .0.row, column = .0.column, value = .0.value, expected = .0.expected)]
    Misfit(Box<Misfit>),
    #[error("{file}: {reason}")]
    Unreadable { file: String, reason: String },
    #[error("{file}: {source}")]
    Columns { file: String, source: ColumnsError },
    #[error("the columns do not match the dataset's: {0}")]
    Schema(String),
    #[error("as many files as this cell can convert at once are being converted: {0}")]
    Busy(#[from] NoTurn),
    #[error("the work was given up because the process is stopping")]
    Stopping,
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Scope(#[from] ScopeError),
    #[error(transparent)]
    Page(#[from] PageError),
    #[error(transparent)]
    Lakehouse(#[from] lakehouse::Error),
    #[error("stored data cannot be read")]
    Stored(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Error::Database(error.into())
    }
}

impl Error {
    /// A file that cannot be read as what it was said to be.
    pub fn unreadable(file: &str, reason: impl ToString) -> Self {
        Error::Unreadable { file: file.to_owned(), reason: reason.to_string() }
    }

    pub fn stored(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Error::Stored(source.into())
    }

    /// Whether the files themselves are at fault, so that trying again cannot help. How they are to
    /// be read may be said better the next time.
    pub fn is_inputs(&self) -> bool {
        matches!(self.kind(), Kind::Invalid | Kind::TooLarge) && !matches!(self, Error::Parameter(_))
    }

    /// Whether the rows may be in the table all the same.
    pub fn is_unsettled(&self) -> bool {
        matches!(self, Error::Lakehouse(lakehouse::Error::CommitUnknown(_) | lakehouse::Error::Answer(_)))
    }
}

impl Fault for Error {
    fn kind(&self) -> Kind {
        match self {
            Error::NoDataset | Error::NoTransaction | Error::NoVersion => Kind::NotFound,
            Error::NameTaken | Error::TransactionOpen | Error::TransactionEnded => Kind::Conflict,
            Error::CommitUnderWay | Error::UploadUnderWay => Kind::Conflict,
            Error::IdempotencyKey(_) | Error::KeyReused => Kind::Invalid,
            Error::Name(_) | Error::Parameter(_) | Error::Empty | Error::BrokenOff | Error::Misfit(_) => Kind::Invalid,
            Error::Unreadable { .. } | Error::Columns { .. } | Error::Schema(_) => Kind::Invalid,
            Error::TooLong { .. } | Error::TooManyFiles { .. } | Error::PreviewTooLong { .. } => Kind::TooLarge,
            Error::Busy(_) | Error::Stopping => Kind::Unavailable,
            Error::Stored(_) => Kind::Internal,
            Error::Database(error) => error.kind(),
            Error::Scope(error) => error.kind(),
            Error::Page(error) => error.kind(),
            Error::Lakehouse(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Error::NoDataset => "dataset/not-found",
            Error::NoTransaction => "dataset/transaction-not-found",
            Error::NoVersion => "dataset/version-not-found",
            Error::NameTaken => "dataset/name-taken",
            Error::Name(_) => "dataset/name",
            Error::Parameter(_) => "dataset/parameter",
            Error::TransactionOpen => "dataset/transaction-open",
            Error::TransactionEnded => "dataset/transaction-ended",
            Error::CommitUnderWay => "dataset/commit-under-way",
            Error::IdempotencyKey(_) => "dataset/idempotency-key",
            Error::KeyReused => "dataset/idempotency-key-reused",
            Error::UploadUnderWay => "dataset/upload-under-way",
            Error::Empty => "dataset/transaction-empty",
            Error::TooLong { .. } => "dataset/upload-too-long",
            Error::TooManyFiles { .. } => "dataset/too-many-files",
            Error::PreviewTooLong { .. } => "dataset/preview-too-long",
            Error::BrokenOff => "dataset/upload-broken-off",
            Error::Misfit(_) => "dataset/value",
            Error::Unreadable { .. } => "dataset/file",
            Error::Columns { .. } => "dataset/columns",
            Error::Schema(_) => "dataset/schema",
            Error::Busy(_) => "dataset/busy",
            Error::Stopping => "dataset/stopping",
            Error::Stored(_) => "dataset/stored",
            Error::Database(error) => error.code(),
            Error::Scope(error) => error.code(),
            Error::Page(error) => error.code(),
            Error::Lakehouse(error) => error.code(),
        }
    }

    fn retry_after(&self) -> Option<std::time::Duration> {
        match self {
            Error::Busy(_) | Error::CommitUnderWay | Error::UploadUnderWay => Some(std::time::Duration::from_secs(5)),
            Error::Lakehouse(error) => error.retry_after(),
            _ => None,
        }
    }

    fn generation_required(&self) -> Option<contracts::Generation> {
        match self {
            Error::Database(error) => error.generation_required(),
            Error::Lakehouse(error) => error.generation_required(),
            _ => None,
        }
    }

    fn extension(&self) -> Option<(&'static str, Value)> {
        match self {
            Error::Misfit(m) => Some((
                "misfit",
                json!({ "file": m.file, "row": m.row, "column": m.column, "expected": m.expected, "value": m.value }),
            )),
            _ => None,
        }
    }
}
