//! What can go wrong on the control bus.

use kit::{Fault, Kind};

type Source = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, thiserror::Error)]
pub enum ControlBusError {
    #[error("the control bus cannot be reached")]
    Unavailable(#[source] Source),
    #[error("the control bus did not acknowledge {event}")]
    NotAcknowledged { event: String, source: Source },
    /// The event is not declared, or rides the other bus.
    #[error("{0} is not a declared event of the control bus")]
    Undeclared(String),
    #[error("{what}: {detail}")]
    Administration { what: String, detail: String },
}

impl ControlBusError {
    pub(crate) fn unavailable(source: impl Into<Source>) -> Self {
        Self::Unavailable(source.into())
    }

    pub(crate) fn administration(what: impl Into<String>, detail: impl ToString) -> Self {
        Self::Administration { what: what.into(), detail: detail.to_string() }
    }
}

impl Fault for ControlBusError {
    fn kind(&self) -> Kind {
        match self {
            Self::Unavailable(_) | Self::NotAcknowledged { .. } => Kind::Unavailable,
            Self::Undeclared(_) | Self::Administration { .. } => Kind::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "control-bus/unavailable",
            Self::NotAcknowledged { .. } => "control-bus/not-acknowledged",
            Self::Undeclared(_) => "control-bus/undeclared",
            Self::Administration { .. } => "control-bus/administration",
        }
    }
}
