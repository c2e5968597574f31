//! The envelope around every event, on either bus.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::TenantId;

/// Consumers are idempotent by `event_id`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Envelope<P> {
    pub event_id: Uuid,
    /// Name and version, for example `dataset.transaction.committed.v1`.
    pub event_type: String,
    pub tenant: TenantId,
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "String")]
    pub occurred_at: OffsetDateTime,
    /// The request that started it all.
    pub correlation_id: String,
    /// The event that caused this one, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation_id: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    pub payload: P,
}

/// Namespace of [`event_id`].
const EVENT_NAMESPACE: Uuid = Uuid::from_u128(0x6a1e_5f0c_7a52_4b0e_9d6c_c1b0_55d3_90e7);

/// The id of an event about version `version` of an aggregate: the same fact always has the same
/// id, so a repeated publish is a repeat and not a second event.
pub fn event_id(aggregate: &Uuid, version: u64, event_type: &str) -> Uuid {
    let mut name = Vec::with_capacity(24 + event_type.len());
    name.extend_from_slice(aggregate.as_bytes());
    name.extend_from_slice(&version.to_be_bytes());
    name.extend_from_slice(event_type.as_bytes());
    Uuid::new_v5(&EVENT_NAMESPACE, &name)
}
