//! What can go wrong, and what a caller is told of it.

use std::time::Duration;

use kit::database::DatabaseError;
use kit::fault::{Fault, Kind};

use crate::domain::placement::PlacementRefused;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("a valid token for the global plane is required")]
    Unauthenticated,
    #[error("this needs an administrator of the platform")]
    Forbidden,
    #[error("this is between the cell itself and the plane")]
    NotTheCell,
    #[error("this is between the routers and the plane")]
    NotARouter,
    #[error("no such {0}")]
    NotFound(&'static str),
    #[error("the {0} exists already")]
    Exists(&'static str),
    #[error("{0}")]
    Invalid(&'static str),
    #[error("{0}")]
    Placement(&'static str),
    #[error("the cell still has tenants")]
    CellInUse,
    #[error("the cell is being emptied")]
    Draining,
    #[error("the tier still has tenants")]
    TierInUse,
    #[error("the tenant lives in another cell; a move leads there, not a placement")]
    NoMoves,
    #[error("the tenant is being moved")]
    Moving,
    #[error("the move is past its fence: it can only go on")]
    PastTheFence,
    #[error("the move has been led on by somebody else")]
    Overtaken,
    #[error("the table cannot be put by for its readers")]
    Spool(#[source] std::io::Error),
    #[error("too many readers of the feed")]
    TooManyReaders,
    #[error("this process is not the elected writer")]
    NotWriter,
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error("{0}")]
    Broken(&'static str),
    #[error("the bundle cannot be signed")]
    Signing(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Error::Database(error.into())
    }
}

impl From<PlacementRefused> for Error {
    fn from(refused: PlacementRefused) -> Self {
        match refused {
            PlacementRefused::UnknownCell => Error::Invalid("the cell does not exist"),
            PlacementRefused::Full => Error::Placement("the cell has as many tenants as it takes"),
            PlacementRefused::Region => Error::Placement("the cell is not where the tenant must be"),
            PlacementRefused::NotServing => Error::Placement("the cell takes no new tenants"),
            PlacementRefused::Apart => {
                Error::Placement("the cell has, or is getting, a tenant from which this one must be apart")
            }
            PlacementRefused::Foreign => Error::Placement("the cell is dedicated to another organisation"),
            PlacementRefused::NoSharedCell => Error::Placement("no cell takes new tenants"),
            PlacementRefused::NotYours => Error::Forbidden,
        }
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
            Error::Unauthenticated => Kind::Unauthenticated,
            Error::Forbidden | Error::NotTheCell | Error::NotARouter => Kind::Forbidden,
            Error::NotFound(_) => Kind::NotFound,
            Error::Exists(_) => Kind::Conflict,
            Error::Invalid(_) => Kind::Invalid,
            Error::Placement(_) | Error::CellInUse | Error::TierInUse | Error::NoMoves | Error::PastTheFence => {
                Kind::Precondition
            }
            Error::Moving | Error::Draining | Error::Overtaken => Kind::Conflict,
            Error::TooManyReaders => Kind::TooMany,
            Error::NotWriter => Kind::Unavailable,
            Error::Database(error) => error.kind(),
            Error::Broken(_) | Error::Signing(_) | Error::Spool(_) => Kind::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Error::Unauthenticated => "tenancy/unauthenticated",
            Error::Forbidden => "tenancy/forbidden",
            Error::NotTheCell => "tenancy/not-the-cell",
            Error::NotARouter => "tenancy/not-a-router",
            Error::NotFound(_) => "tenancy/not-found",
            Error::Exists(_) => "tenancy/exists",
            Error::Invalid(_) => "tenancy/invalid",
            Error::Placement(_) => "tenancy/placement",
            Error::CellInUse => "tenancy/cell-in-use",
            Error::Draining => "tenancy/draining",
            Error::TierInUse => "tenancy/tier-in-use",
            Error::NoMoves => "tenancy/no-moves",
            Error::Moving => "tenancy/moving",
            Error::PastTheFence => "tenancy/past-the-fence",
            Error::Overtaken => "tenancy/overtaken",
            Error::TooManyReaders => "tenancy/too-many-readers",
            Error::NotWriter => "tenancy/not-writer",
            Error::Database(error) if error.kind() == Kind::Unavailable => "tenancy/unavailable",
            Error::Database(_) | Error::Broken(_) | Error::Signing(_) | Error::Spool(_) => "tenancy/internal",
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        matches!(self, Error::NotWriter | Error::TooManyReaders).then_some(Duration::from_secs(1))
    }
}
