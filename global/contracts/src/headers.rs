//! Header names, on HTTP, gRPC and Kafka.

/// Headers a client may never set: the router strips every header with this prefix.
pub const RESERVED_PREFIX: &str = "x-cyto-";

/// Tenant of the request; minted by the router, passed on by the gateway.
pub const TENANT: &str = "x-cyto-tenant";
/// Cell the router chose; a cell refuses another cell's name with 421.
pub const CELL: &str = "x-cyto-cell";
/// Placement generation the router knew when it chose.
pub const GENERATION: &str = "x-cyto-generation";
/// On a 421: the generation the router has to reach before it may retry.
pub const GENERATION_REQUIRED: &str = "x-cyto-generation-required";
/// On a 421: the tenant is on its way to another cell, and is entered at that generation when it has arrived.
pub const LEAVING: &str = "x-cyto-leaving";
/// What the tenant's tier allows it of requests, if the table has the tier; see `tiers::RequestLimits`.
pub const LIMITS: &str = "x-cyto-limits";
/// The card of the API key with which the request came; added by the router.
pub const KEY_CARD: &str = "x-cyto-key-card";
/// `user:<sub>` or `service:<name>`; set by the gateway after it verified the token itself.
pub const ACTOR: &str = "x-cyto-actor";
/// Space-separated scopes of the actor.
pub const SCOPES: &str = "x-cyto-scopes";
/// Stable error code, on a gRPC status.
pub const ERROR_CODE: &str = "x-cyto-error-code";
pub const REQUEST_ID: &str = "x-request-id";
pub const TRACEPARENT: &str = "traceparent";

/// OpenLineage headers on every record of the data bus. All but [`OL_SCHEMA_URL`] are required.
pub const OL_NAMESPACE: &str = "ol-namespace";
pub const OL_JOB_NAME: &str = "ol-job-name";
pub const OL_RUN_ID: &str = "ol-run-id";
pub const OL_EVENT_TIME: &str = "ol-event-time";
pub const OL_PRODUCER: &str = "ol-producer";
pub const OL_SCHEMA_URL: &str = "ol-schema-url";

/// Kafka headers of a stream record.
pub const RECORD_TENANT: &str = "tenant";
pub const RECORD_STREAM: &str = "stream";
pub const RECORD_SCHEMA_VERSION: &str = "schema-version";
