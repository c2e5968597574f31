//! What can go wrong, and what a caller is told of it.

use std::time::Duration;

use kit::database::DatabaseError;
use kit::fault::{Fault, Kind};

use crate::domain::password::PasswordFlaw;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// One answer for unknown accounts, wrong secrets, suspended subjects and foreign tenants:
    /// nothing can be learnt from it.
    #[error("signing in failed: the credentials are not valid for what was asked")]
    BadCredentials,
    #[error("a valid token for the global plane is required")]
    Unauthenticated,
    #[error("this is between the routers and the plane")]
    NotARouter,
    #[error("this needs an administrator of the organisation")]
    Forbidden,
    #[error("no such {0}")]
    NotFound(&'static str),
    #[error("the {0} exists already")]
    Exists(&'static str),
    #[error("{0}")]
    Invalid(&'static str),
    #[error(transparent)]
    Password(#[from] PasswordFlaw),
    #[error("a requested scope does not exist or is not held")]
    Scope,
    #[error("too many failed attempts; wait before the next one")]
    Throttled { wait: Duration },
    #[error("too many sign-ins at the same time")]
    Busy,
    #[error("the last platform administrator stays")]
    LastAdministrator,
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error("the tenants cannot be looked up")]
    Directory(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("{0}")]
    Broken(&'static str),
    #[error("{what}")]
    File {
        what: &'static str,
        #[source]
        source: std::io::Error,
    },
    #[error("the signing keys cannot be opened: the seal key is not the one they were sealed with")]
    Sealed(#[source] kit::seal::SealError),
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Error::Database(error.into())
    }
}

impl Error {
    /// Turns a unique violation into "exists already".
    pub fn exists(error: sqlx::Error, what: &'static str) -> Self {
        let error = DatabaseError::from(error);
        if error.is_unique_violation() { Error::Exists(what) } else { error.into() }
    }
}

impl Fault for Error {
    fn kind(&self) -> Kind {
        match self {
            Error::BadCredentials | Error::Unauthenticated => Kind::Unauthenticated,
            Error::Forbidden | Error::NotARouter => Kind::Forbidden,
            Error::NotFound(_) => Kind::NotFound,
            Error::Exists(_) => Kind::Conflict,
            Error::Invalid(_) | Error::Password(_) | Error::Scope => Kind::Invalid,
            Error::Throttled { .. } | Error::Busy => Kind::TooMany,
            Error::LastAdministrator => Kind::Precondition,
            Error::Database(error) => error.kind(),
            Error::Directory(_) | Error::Broken(_) | Error::File { .. } | Error::Sealed(_) => Kind::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Error::BadCredentials => "identity/bad-credentials",
            Error::Unauthenticated => "identity/unauthenticated",
            Error::Forbidden => "identity/forbidden",
            Error::NotARouter => "identity/not-a-router",
            Error::NotFound(_) => "identity/not-found",
            Error::Exists(_) => "identity/exists",
            Error::Invalid(_) => "identity/invalid",
            Error::Password(_) => "identity/weak-password",
            Error::Scope => "identity/scope",
            Error::Throttled { .. } => "identity/throttled",
            Error::Busy => "identity/busy",
            Error::LastAdministrator => "identity/last-administrator",
            Error::Database(error) if error.kind() == Kind::Unavailable => "identity/unavailable",
            Error::Database(_) | Error::Directory(_) | Error::Broken(_) | Error::File { .. } | Error::Sealed(_) => {
                "identity/internal"
            }
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Error::Throttled { wait } => Some(*wait),
            Error::Busy => Some(Duration::from_secs(1)),
            _ => None,
        }
    }
}
