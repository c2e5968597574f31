//! What can go wrong on the way, and how that reads.

use kit::fault::{Fault, Kind};
use kit::peers::PeerError;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("only the global plane leads a move")]
    NotTheLeader,
    #[error("the tenant is promised to no such cell")]
    NotPromised,
    #[error("the path names no tenant")]
    NoTenant,
    #[error("the service keeps no rows")]
    NoService,
    #[error("the path is not the tenant's")]
    Path,
    #[error("{who} did not {what}")]
    Peer { who: String, what: &'static str },
    #[error("the bucket did not answer")]
    Bucket(#[from] lakehouse::Error),
    #[error("the bucket did not answer")]
    Store(#[from] object_store::Error),
    #[error("an object is not what was promised")]
    Object,
    #[error(transparent)]
    Client(#[from] PeerError),
}

impl Fault for Error {
    fn kind(&self) -> Kind {
        match self {
            Error::NotTheLeader | Error::NotPromised => Kind::Forbidden,
            Error::NoTenant | Error::NoService | Error::Path => Kind::NotFound,
            Error::Peer { .. } | Error::Bucket(_) | Error::Store(_) | Error::Object => Kind::Unavailable,
            Error::Client(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Error::NotTheLeader => "move/not-the-leader",
            Error::NotPromised => "move/not-promised",
            Error::NoTenant => "move/no-tenant",
            Error::NoService => "move/no-service",
            Error::Path => "move/path",
            Error::Peer { .. } => "move/peer",
            Error::Bucket(_) | Error::Store(_) => "move/bucket",
            Error::Object => "move/object",
            Error::Client(error) => error.code(),
        }
    }
}
