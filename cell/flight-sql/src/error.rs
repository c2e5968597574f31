//! What can go wrong between a Flight SQL client and its server.

use std::time::Duration;

use arrow::error::ArrowError;
use arrow_flight::error::FlightError;
use kit::{Fault, Kind};
use tonic::{Code, Status};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0:?} is not an address of a Flight SQL server")]
    Address(String),
    #[error("the Flight SQL server could not be reached")]
    Connect(#[source] tonic::transport::Error),
    #[error("{}", .0.message())]
    Refused(#[source] Box<Status>),
    #[error("the server's answer is not valid Arrow Flight")]
    Decode(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the server's answer lacks {0}")]
    Incomplete(&'static str),
    #[error("{0} cannot be sent as a header")]
    Header(String),
}

impl Error {
    /// The server's own status, if it answered with one.
    pub fn status(&self) -> Option<&Status> {
        match self {
            Error::Refused(status) => Some(status),
            _ => None,
        }
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        Error::Refused(Box::new(status))
    }
}

impl From<FlightError> for Error {
    fn from(error: FlightError) -> Self {
        match error {
            FlightError::Tonic(status) => Error::Refused(status),
            other => Error::Decode(Box::new(other)),
        }
    }
}

impl From<ArrowError> for Error {
    fn from(error: ArrowError) -> Self {
        Error::Decode(Box::new(error))
    }
}

impl From<prost::DecodeError> for Error {
    fn from(error: prost::DecodeError) -> Self {
        Error::Decode(Box::new(error))
    }
}

impl Fault for Error {
    fn kind(&self) -> Kind {
        match self {
            Error::Address(_) | Error::Header(_) => Kind::Invalid,
            Error::Connect(_) => Kind::Unavailable,
            Error::Decode(_) | Error::Incomplete(_) => Kind::Internal,
            Error::Refused(status) => kind_of(status.code()),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Error::Address(_) => "sql/address",
            Error::Header(_) => "sql/header",
            Error::Connect(_) => "sql/unreachable",
            Error::Decode(_) | Error::Incomplete(_) => "sql/peer-answer",
            Error::Refused(_) => "sql/peer-refused",
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        let seconds = self.status()?.metadata().get("retry-after")?.to_str().ok()?.parse().ok()?;
        Some(Duration::from_secs(seconds))
    }
}

fn kind_of(code: Code) -> Kind {
    match code {
        Code::InvalidArgument | Code::OutOfRange | Code::Unimplemented => Kind::Invalid,
        Code::Unauthenticated => Kind::Unauthenticated,
        Code::PermissionDenied => Kind::Forbidden,
        Code::NotFound => Kind::NotFound,
        Code::AlreadyExists | Code::Aborted => Kind::Conflict,
        Code::FailedPrecondition => Kind::Precondition,
        Code::ResourceExhausted => Kind::TooMany,
        Code::Unavailable | Code::Cancelled => Kind::Unavailable,
        Code::DeadlineExceeded => Kind::Timeout,
        Code::Ok | Code::Unknown | Code::Internal | Code::DataLoss => Kind::Internal,
    }
}
