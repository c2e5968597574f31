//! What the catalog answers when it does not do what was asked.

use contracts::Generation;
use kit::database::DatabaseError;
use kit::fault::{Fault, Kind};
use kit::scope::ScopeError;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no such warehouse")]
    NoSuchWarehouse,
    #[error("there is no such namespace")]
    NoSuchNamespace,
    #[error("there is no such table")]
    NoSuchTable,
    #[error("the namespace exists already")]
    NamespaceExists,
    #[error("the table exists already")]
    TableExists,
    #[error("the namespace is not empty")]
    NamespaceNotEmpty,
    #[error("{0}")]
    Invalid(String),
    #[error("{0}")]
    Unprocessable(String),
    #[error("a location must lie under {0}")]
    Location(String),
    #[error("{0}")]
    CommitFailed(String),
    /// The pointer moved between reading and writing; the operation tries again by itself.
    #[error("other commits kept coming first; try again")]
    Raced,
    #[error("it is not known whether the commit happened; reload the table")]
    CommitUnknown(#[source] DatabaseError),
    #[error("the tenant's limit of {limit} {what} is reached")]
    Limit { what: &'static str, limit: u32 },
    #[error(transparent)]
    Scope(#[from] ScopeError),
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error("the warehouse failed")]
    Warehouse(#[source] lakehouse::Error),
    #[error("table metadata could not be written as JSON")]
    Json(#[from] serde_json::Error),
    #[error("the table's metadata has more than {limit} bytes: expire snapshots")]
    MetadataTooLong { limit: u64 },
    #[error("the table's metadata cannot be read")]
    Unreadable(#[source] serde_json::Error),
    #[error("a stored row is damaged: {0}")]
    Damaged(&'static str),
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Error::Database(error.into())
    }
}

impl From<lakehouse::Error> for Error {
    fn from(error: lakehouse::Error) -> Self {
        Error::Warehouse(error)
    }
}

impl Error {
    /// A refusal of the Iceberg library: a requirement that does not hold, or an update that makes no sense.
    pub fn refused(error: &iceberg::Error) -> Self {
        match error.kind() {
            iceberg::ErrorKind::CatalogCommitConflicts => Error::CommitFailed(error.message().to_owned()),
            iceberg::ErrorKind::TableNotFound => Error::NoSuchTable,
            _ => Error::Invalid(error.message().to_owned()),
        }
    }

    /// HTTP status and exception name of the Iceberg REST specification.
    pub fn wire(&self) -> (u16, &'static str) {
        match self {
            Error::NoSuchWarehouse => (404, "NoSuchWarehouseException"),
            Error::NoSuchNamespace => (404, "NoSuchNamespaceException"),
            Error::NoSuchTable => (404, "NoSuchTableException"),
            Error::NamespaceExists | Error::TableExists => (409, "AlreadyExistsException"),
            Error::NamespaceNotEmpty => (409, "NamespaceNotEmptyException"),
            Error::Invalid(_) | Error::Location(_) | Error::MetadataTooLong { .. } => (400, "BadRequestException"),
            Error::Unprocessable(_) => (422, "UnprocessableEntityException"),
            Error::CommitFailed(_) | Error::Raced => (409, "CommitFailedException"),
            Error::CommitUnknown(_) => (500, "CommitStateUnknownException"),
            Error::Limit { .. } => (429, "TooManyRequestsException"),
            Error::Scope(ScopeError::Missing(_)) => (403, "ForbiddenException"),
            Error::Scope(_) => (401, "NotAuthorizedException"),
            Error::Database(error) => match error.kind() {
                Kind::Misdirected => (421, "MisdirectedRequestException"),
                // Nothing was written: a client may send the request again.
                Kind::Unavailable => (503, "ServiceUnavailableException"),
                _ => (500, "InternalServerError"),
            },
            Error::Warehouse(error) => match error.kind() {
                Kind::Unavailable => (503, "ServiceUnavailableException"),
                Kind::Invalid | Kind::NotFound => (400, "BadRequestException"),
                _ => (500, "InternalServerError"),
            },
            Error::Json(_) | Error::Unreadable(_) | Error::Damaged(_) => (500, "InternalServerError"),
        }
    }
}

impl Fault for Error {
    fn kind(&self) -> Kind {
        match self.wire().0 {
            400 | 422 => Kind::Invalid,
            401 => Kind::Unauthenticated,
            403 => Kind::Forbidden,
            404 => Kind::NotFound,
            409 => Kind::Conflict,
            421 => Kind::Misdirected,
            429 => Kind::TooMany,
            503 => Kind::Unavailable,
            _ => Kind::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Error::NoSuchWarehouse => "catalog/no-such-warehouse",
            Error::NoSuchNamespace => "catalog/no-such-namespace",
            Error::NoSuchTable => "catalog/no-such-table",
            Error::NamespaceExists => "catalog/namespace-exists",
            Error::TableExists => "catalog/table-exists",
            Error::NamespaceNotEmpty => "catalog/namespace-not-empty",
            Error::Invalid(_) => "catalog/invalid",
            Error::Unprocessable(_) => "catalog/unprocessable",
            Error::Location(_) => "catalog/location",
            Error::CommitFailed(_) => "catalog/commit-failed",
            Error::Raced => "catalog/raced",
            Error::CommitUnknown(_) => "catalog/commit-unknown",
            Error::Limit { .. } => "catalog/limit",
            Error::Scope(error) => error.code(),
            Error::Database(error) => error.code(),
            Error::Warehouse(error) => error.code(),
            Error::MetadataTooLong { .. } => "catalog/metadata-too-long",
            Error::Json(_) => "catalog/json",
            Error::Unreadable(_) => "catalog/metadata-unreadable",
            Error::Damaged(_) => "catalog/damaged",
        }
    }

    fn generation_required(&self) -> Option<Generation> {
        match self {
            Error::Database(error) => error.generation_required(),
            _ => None,
        }
    }
}
