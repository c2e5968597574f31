//! What can go wrong between a service and its warehouse.

use std::time::Duration;

use contracts::Generation;
use kit::fault::{Fault, Kind};

use crate::storage::WrappedError;

pub type Result<T> = std::result::Result<T, Error>;

type Source = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the object store failed to {action} {path}")]
    Store { action: &'static str, path: String, source: object_store::Error },
    /// The cell has used up its quota: reads go on, and so do writes once there is room.
    #[error("the cell's storage is full: {path} was not written")]
    Full { path: String, source: object_store::Error },
    #[error("the object has more than {0} bytes")]
    TooLong(u64),
    /// The store answers, but would let two writers win the same conditional put.
    #[error("the object store does not honour conditional writes: {0}")]
    UnsafeStore(&'static str),
    #[error("the bucket's endpoint is not usable: {0}")]
    Endpoint(&'static str),
    /// A location that leads out of the tenant's part of the bucket. It is not echoed: it may be hostile.
    #[error("a location lies outside the tenant's part of the bucket")]
    Outside,
    #[error("iceberg metadata could not be processed: {}", .0.message())]
    Iceberg(#[source] Box<iceberg::Error>),
    #[error("rows could not be converted to the table's columns")]
    Arrow(#[from] arrow::error::ArrowError),
    #[error("rows do not fit the table: {0}")]
    Schema(String),
    #[error("not supported: {0}")]
    Unsupported(&'static str),
    /// The source of rows or bytes failed while they were being written.
    #[error("the input could not be read")]
    Input(#[source] Source),
    #[error("the catalog has no such {0}")]
    NotFound(&'static str),
    #[error("the catalog already has such a {0}")]
    Exists(&'static str),
    /// A requirement of a commit does not hold any more: reload and try again.
    #[error("another commit came first")]
    Conflict,
    /// The commit may or may not have happened; only the table can tell.
    #[error("the catalog did not answer a commit")]
    CommitUnknown(#[source] Option<Source>),
    #[error("the catalog refused with {status}: {message}")]
    Refused { status: u16, message: String },
    /// The catalog serves the tenant at another generation.
    #[error("the catalog does not serve the tenant at this generation")]
    Misdirected(Option<Generation>),
    #[error("the catalog is not reachable")]
    Unreachable(#[source] Source),
    #[error("the catalog's answer is not understood")]
    Answer(#[source] Source),
    #[error("temporary credentials could not be had: {0}")]
    Credentials(String),
}

impl Error {
    pub(crate) fn store(
        action: &'static str,
        path: &object_store::path::Path,
    ) -> impl FnOnce(object_store::Error) -> Error {
        let path = path.to_string();
        move |source| match is_quota(&source) {
            true => Error::Full { path, source },
            false => Error::Store { action, path, source },
        }
    }

    /// Whether the same call may succeed when it is made again on fresh metadata.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Error::Conflict)
    }

    pub fn is_not_found(&self) -> bool {
        matches!(self, Error::NotFound(_) | Error::Store { source: object_store::Error::NotFound { .. }, .. })
    }
}

/// Whether the store refused a write because its owner's quota is used up; S3 says so by a code in the
/// body of a 403, which the client keeps in its message only.
fn is_quota(error: &object_store::Error) -> bool {
    kit::fault::chain(error).contains("<Code>QuotaExceeded</Code>")
}

type Cause<'a> = &'a (dyn std::error::Error + 'static);

/// The kind of the failure of ours that Iceberg's library passed on, if it was one.
fn kind_within(error: &iceberg::Error) -> Option<Kind> {
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        match (cause.downcast_ref::<Error>(), cause.downcast_ref()) {
            (Some(own), _) => return Some(own.kind()),
            (_, Some(object_store::Error::NotFound { .. })) => return Some(Kind::NotFound),
            (_, Some(_)) => return Some(Kind::Unavailable),
            (None, None) => {}
        }
        // Neither of the two names what it wraps as its source, but that one's own source.
        let wrapped = cause.downcast_ref::<WrappedError>().map(|wrapped| wrapped.0.as_ref() as Cause);
        let inside =
            cause.downcast_ref::<std::io::Error>().and_then(|error| error.get_ref()).map(|inner| inner as Cause);
        next = wrapped.or(inside).or_else(|| cause.source());
    }
    None
}

impl From<iceberg::Error> for Error {
    fn from(source: iceberg::Error) -> Self {
        Error::Iceberg(Box::new(source))
    }
}

impl Fault for Error {
    fn kind(&self) -> Kind {
        match self {
            Error::Store { source: object_store::Error::NotFound { .. }, .. } | Error::NotFound(_) => Kind::NotFound,
            Error::Store { .. }
            | Error::Full { .. }
            | Error::Unreachable(_)
            | Error::CommitUnknown(_)
            | Error::Credentials(_) => Kind::Unavailable,
            Error::Schema(_) | Error::Arrow(_) | Error::Unsupported(_) | Error::Outside | Error::Input(_) => {
                Kind::Invalid
            }
            Error::TooLong(_) => Kind::TooLarge,
            Error::Exists(_) | Error::Conflict => Kind::Conflict,
            Error::Misdirected(_) => Kind::Misdirected,
            Error::Refused { status: 403, .. } => Kind::Forbidden,
            Error::Refused { status: 429 | 503, .. } => Kind::Unavailable,
            Error::Refused { status, .. } if (400..500).contains(status) => Kind::Invalid,
            // What Iceberg's library met may be the store's failure, and no fault of the metadata.
            Error::Iceberg(error) => kind_within(error).unwrap_or(Kind::Internal),
            Error::UnsafeStore(_) | Error::Endpoint(_) | Error::Refused { .. } | Error::Answer(_) => Kind::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Error::Store { .. } => "lakehouse/store",
            Error::Full { .. } => "lakehouse/full",
            Error::TooLong(_) => "lakehouse/too-long",
            Error::UnsafeStore(_) => "lakehouse/unsafe-store",
            Error::Endpoint(_) => "lakehouse/endpoint",
            Error::Outside => "lakehouse/outside",
            Error::Iceberg(_) => "lakehouse/metadata",
            Error::Arrow(_) | Error::Schema(_) => "lakehouse/schema",
            Error::Unsupported(_) => "lakehouse/unsupported",
            Error::Input(_) => "lakehouse/input",
            Error::NotFound(_) => "lakehouse/not-found",
            Error::Exists(_) => "lakehouse/exists",
            Error::Conflict => "lakehouse/conflict",
            Error::CommitUnknown(_) => "lakehouse/commit-unknown",
            Error::Refused { .. } => "lakehouse/refused",
            Error::Misdirected(_) => "lakehouse/misdirected",
            Error::Unreachable(_) => "lakehouse/unreachable",
            Error::Answer(_) => "lakehouse/answer",
            Error::Credentials(_) => "lakehouse/credentials",
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        matches!(self.kind(), Kind::Unavailable).then_some(Duration::from_secs(1))
    }

    fn generation_required(&self) -> Option<Generation> {
        match self {
            Error::Misdirected(required) => *required,
            _ => None,
        }
    }
}
