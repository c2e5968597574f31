//! What can go wrong on the data bus.

use kit::{Fault, Kind};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// A client could not be made: a setting librdkafka does not accept.
    #[error("the data bus client could not be made")]
    Client(#[source] KafkaError),
    #[error("the data bus does not answer")]
    Unavailable(#[source] KafkaError),
    /// The broker's own access rules said no.
    #[error("the data bus refused {what}")]
    Refused { what: String, source: KafkaError },
    /// The local queue stayed full for the whole delivery deadline.
    #[error("the data bus takes no more records at the moment")]
    Full,
    #[error("{failed} of {sent} records were not acknowledged")]
    NotAcknowledged { failed: u64, sent: u64, source: KafkaError },
    #[error("a record is larger than the data bus takes")]
    RecordTooLarge,
    /// The event is not declared, or rides the other bus.
    #[error("{0} is not a declared event of the data bus")]
    Undeclared(String),
    #[error("required header {0} is missing")]
    HeaderMissing(&'static str),
    #[error("{what}: {detail}")]
    Administration { what: String, detail: String },
}

impl BusError {
    pub(crate) fn of(what: &str, source: KafkaError) -> Self {
        match source.rdkafka_error_code() {
            Some(
                RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::GroupAuthorizationFailed
                | RDKafkaErrorCode::ClusterAuthorizationFailed
                | RDKafkaErrorCode::TransactionalIdAuthorizationFailed
                | RDKafkaErrorCode::SaslAuthenticationFailed
                | RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownPartition,
            ) => BusError::Refused { what: what.to_owned(), source },
            Some(RDKafkaErrorCode::MessageSizeTooLarge) => BusError::RecordTooLarge,
            _ => BusError::Unavailable(source),
        }
    }

    /// Whether the broker itself denied it; such an error does not go away by trying again.
    pub fn is_refused(&self) -> bool {
        matches!(self, BusError::Refused { .. })
    }
}

impl Fault for BusError {
    fn kind(&self) -> Kind {
        match self {
            BusError::Unavailable(_) | BusError::NotAcknowledged { .. } => Kind::Unavailable,
            BusError::Full => Kind::TooMany,
            BusError::RecordTooLarge => Kind::TooLarge,
            BusError::Client(_)
            | BusError::Refused { .. }
            | BusError::Undeclared(_)
            | BusError::HeaderMissing(_)
            | BusError::Administration { .. } => Kind::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            BusError::Client(_) => "data-bus/client",
            BusError::Unavailable(_) => "data-bus/unavailable",
            BusError::Refused { .. } => "data-bus/refused",
            BusError::Full => "data-bus/full",
            BusError::NotAcknowledged { .. } => "data-bus/not-acknowledged",
            BusError::RecordTooLarge => "data-bus/record-too-large",
            BusError::Undeclared(_) => "data-bus/undeclared",
            BusError::HeaderMissing(_) => "data-bus/header-missing",
            BusError::Administration { .. } => "data-bus/administration",
        }
    }
}
