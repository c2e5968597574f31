//! What the entry refuses, and how that reads.

use std::time::Duration;

use kit::admission::AdmitError;
use kit::fault::{Fault, Kind};
use kit::peers::PeerError;

use crate::limits::Refusal;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the path has an empty, dot or encoded-slash segment; send it normalised")]
    Path,
    #[error("nothing answers at this path")]
    NoRoute,
    #[error("the tenant makes more requests per second than its limit")]
    Rate { after: Duration },
    #[error("the tenant already has {limit} requests under way")]
    Concurrency { limit: usize },
    #[error("this cell is serving as many tenants at once as it can keep apart")]
    Crowded,
    #[error("the body is longer than {limit} bytes")]
    BodyTooLong { limit: u64 },
    #[error("the request's body stopped before its end")]
    BodyBroken,
    #[error("{service} does not answer; nothing was changed by this call")]
    Refused {
        service: &'static str,
        #[source]
        source: reqwest::Error,
    },
    #[error("{service} broke off before it answered; whether the call took effect is not known")]
    BrokenOff {
        service: &'static str,
        #[source]
        source: reqwest::Error,
    },
    #[error("{service} did not answer in time; whether the call took effect is not known")]
    Timeout { service: &'static str },
    #[error("changes are refused while they cannot be written to the audit log")]
    AuditFull,
    #[error("the service's client cannot be made")]
    Peer(#[from] PeerError),
    #[error("a header of the answer cannot be passed on")]
    Answer(#[source] http::Error),
    #[error(transparent)]
    Admission(#[from] AdmitError),
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Rate { after } => Error::Rate { after },
            Refusal::Concurrency { limit } => Error::Concurrency { limit },
            Refusal::Crowded => Error::Crowded,
        }
    }
}

impl Fault for Error {
    fn kind(&self) -> Kind {
        match self {
            Error::Path | Error::BodyBroken => Kind::Invalid,
            Error::NoRoute => Kind::NotFound,
            Error::Rate { .. } | Error::Concurrency { .. } => Kind::TooMany,
            Error::BodyTooLong { .. } => Kind::TooLarge,
            Error::Crowded | Error::Refused { .. } | Error::BrokenOff { .. } | Error::AuditFull => Kind::Unavailable,
            Error::Timeout { .. } => Kind::Timeout,
            Error::Peer(_) | Error::Answer(_) => Kind::Internal,
            Error::Admission(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Error::Path => "gateway/path",
            Error::NoRoute => "gateway/no-route",
            Error::Rate { .. } => "gateway/rate-limit",
            Error::Concurrency { .. } => "gateway/concurrency-limit",
            Error::Crowded => "gateway/crowded",
            Error::BodyTooLong { .. } => "gateway/body-too-long",
            Error::BodyBroken => "gateway/body-broken-off",
            Error::Refused { .. } => "gateway/service-unavailable",
            Error::BrokenOff { .. } => "gateway/service-broke-off",
            Error::Timeout { .. } => "gateway/service-timeout",
            Error::AuditFull => "gateway/audit-unavailable",
            Error::Peer(_) | Error::Answer(_) => "gateway/internal",
            Error::Admission(error) => error.code(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Error::Rate { after } => Some(*after),
            Error::Concurrency { .. } | Error::Crowded | Error::Refused { .. } | Error::AuditFull => {
                Some(Duration::from_secs(1))
            }
            Error::Admission(error) => error.retry_after(),
            _ => None,
        }
    }

    fn generation_required(&self) -> Option<contracts::Generation> {
        match self {
            Error::Admission(error) => error.generation_required(),
            _ => None,
        }
    }

    fn is_leaving(&self) -> bool {
        matches!(self, Error::Admission(error) if error.is_leaving())
    }

    fn extension(&self) -> Option<(&'static str, serde_json::Value)> {
        match self {
            Error::Admission(error) => error.extension(),
            _ => None,
        }
    }
}
