//! Every event there is: who owns it, which bus it rides, who may produce and consume it.
//!
//! From this list alone come Kafka topics and ACLs ([`crate::kafka`]), NATS streams and subject
//! permissions ([`crate::nats`]), the contract bundle and the bus lint. An event that is not here
//! does not exist: brokers never create a topic or a stream by themselves.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::services::{
    AUDIT, DATASET, GATEWAY, ICEBERG_CATALOG, INGESTION_REPLICATION, LINEAGE, SQL_BI_GATEWAY, STREAMING,
};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// How a topic forgets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cleanup {
    Delete,
    Compact,
}

/// The bus an event rides is part of its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "bus", rename_all = "snake_case")]
pub enum Bus {
    /// NATS JetStream; subject `of.<domain>.<event>.<tenant>`, stream by domain.
    Control { domain: &'static str, event: &'static str },
    /// Kafka; the topic is the event's name.
    Data {
        partitions: i32,
        retention_ms: i64,
        cleanup: Cleanup,
        /// Whether `__dlq.<topic>` exists for records a consumer had to give up.
        dead_letters: bool,
    },
}

/// One event at one major version. v1 gains only optional fields; anything else is v2 beside it.
#[derive(Debug, Clone, Copy)]
pub struct EventDeclaration {
    /// `<domain>.<entity>.<event>.v<N>`.
    pub name: &'static str,
    pub owner: &'static str,
    pub bus: Bus,
    /// What the record key or aggregate is, for readers.
    pub key: &'static str,
    pub producers: &'static [&'static str],
    pub consumers: &'static [&'static str],
    /// JSON Schema of the payload; `None` for tenant rows, whose schema is the stream's own.
    pub schema: Option<fn() -> schemars::Schema>,
}

fn schema<T: schemars::JsonSchema>() -> schemars::Schema {
    schemars::schema_for!(T)
}

pub const STREAMING_RECORD_ACCEPTED: &str = "streaming.record.accepted.v1";
pub const DATASET_TRANSACTION_COMMITTED: &str = "dataset.transaction.committed.v1";
pub const LINEAGE_RUN_EVENT: &str = "lineage.run.event.v1";
pub const AUDIT_ENTRY_RECORDED: &str = "audit.entry.recorded.v1";
pub const STREAM_CHANGED: &str = "streaming.stream.changed.v1";
pub const SINK_COMMITTED: &str = "ingestion.sink.committed.v1";
pub const TABLE_COMMITTED: &str = "catalog.table.committed.v1";

pub const EVENTS: &[EventDeclaration] = &[
    EventDeclaration {
        name: STREAMING_RECORD_ACCEPTED,
        owner: STREAMING,
        bus: Bus::Data { partitions: 6, retention_ms: 7 * DAY_MS, cleanup: Cleanup::Delete, dead_letters: true },
        key: "<tenant>/<stream>/<shard>",
        producers: &[STREAMING],
        consumers: &[INGESTION_REPLICATION, STREAMING],
        schema: None,
    },
    EventDeclaration {
        name: DATASET_TRANSACTION_COMMITTED,
        owner: DATASET,
        bus: Bus::Data { partitions: 3, retention_ms: 7 * DAY_MS, cleanup: Cleanup::Delete, dead_letters: true },
        key: "<tenant>/<dataset>",
        producers: &[DATASET],
        consumers: &[LINEAGE, AUDIT],
        schema: Some(schema::<DatasetTransactionCommitted>),
    },
    EventDeclaration {
        name: LINEAGE_RUN_EVENT,
        owner: LINEAGE,
        bus: Bus::Data { partitions: 3, retention_ms: 7 * DAY_MS, cleanup: Cleanup::Delete, dead_letters: true },
        key: "<tenant>/<run>",
        producers: &[STREAMING, INGESTION_REPLICATION, DATASET, SQL_BI_GATEWAY],
        consumers: &[LINEAGE],
        schema: Some(schema::<LineageRunEvent>),
    },
    EventDeclaration {
        name: AUDIT_ENTRY_RECORDED,
        owner: AUDIT,
        bus: Bus::Data { partitions: 3, retention_ms: 30 * DAY_MS, cleanup: Cleanup::Delete, dead_letters: true },
        key: "<tenant>/<request>",
        producers: &[GATEWAY, STREAMING, INGESTION_REPLICATION, DATASET, ICEBERG_CATALOG, SQL_BI_GATEWAY],
        consumers: &[AUDIT],
        schema: Some(schema::<AuditEntryRecorded>),
    },
    EventDeclaration {
        name: STREAM_CHANGED,
        owner: STREAMING,
        bus: Bus::Control { domain: "streaming", event: "stream-changed" },
        key: "<stream>",
        producers: &[STREAMING],
        consumers: &[INGESTION_REPLICATION],
        schema: Some(schema::<StreamChanged>),
    },
    EventDeclaration {
        name: SINK_COMMITTED,
        owner: INGESTION_REPLICATION,
        bus: Bus::Control { domain: "ingestion", event: "sink-committed" },
        key: "<stream>",
        producers: &[INGESTION_REPLICATION],
        consumers: &[STREAMING],
        schema: Some(schema::<SinkCommitted>),
    },
    EventDeclaration {
        name: TABLE_COMMITTED,
        owner: ICEBERG_CATALOG,
        bus: Bus::Control { domain: "catalog", event: "table-committed" },
        key: "<table>",
        producers: &[ICEBERG_CATALOG],
        // For whoever subscribes next; no service of the cell needs it: tables are looked up per statement.
        consumers: &[],
        schema: Some(schema::<TableCommitted>),
    },
];

pub fn find(name: &str) -> Option<&'static EventDeclaration> {
    EVENTS.iter().find(|e| e.name == name)
}

/// A dataset's transaction became visible.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct DatasetTransactionCommitted {
    pub dataset: Uuid,
    pub name: String,
    pub transaction: Uuid,
    /// `SNAPSHOT` or `APPEND`.
    pub kind: String,
    /// Version of the dataset after the commit; begins at 1 and grows by one.
    pub version: u64,
    pub rows: u64,
    /// Bytes as uploaded.
    pub bytes: u64,
    /// `<namespace>.<table>` in the tenant's catalog.
    pub table: String,
    pub snapshot_id: i64,
}

/// An OpenLineage run event, reduced to what the graph needs; facets travel as they came.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct LineageRunEvent {
    /// `START`, `RUNNING`, `COMPLETE`, `ABORT`, `FAIL` or `OTHER`.
    pub event_type: String,
    pub run_id: Uuid,
    pub job_namespace: String,
    pub job_name: String,
    #[serde(default)]
    pub inputs: Vec<LineageDataset>,
    #[serde(default)]
    pub outputs: Vec<LineageDataset>,
    pub producer: String,
}

/// A dataset as OpenLineage names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct LineageDataset {
    pub namespace: String,
    pub name: String,
    /// OpenLineage facets by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facets: Option<serde_json::Value>,
}

/// Somebody did something, or was refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AuditEntryRecorded {
    pub request_id: String,
    /// `user:<sub>` or `service:<name>`.
    pub actor: String,
    /// For example `http.request` or `sql.statement`.
    pub action: String,
    /// What it was done to: a path, a table, a statement's fingerprint. Never a body.
    pub resource: String,
    /// `allowed`, `denied` or `failed`.
    pub outcome: String,
    /// HTTP status or its gRPC equivalent.
    pub status: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<serde_json::Value>,
}

/// A stream was created, changed or deleted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct StreamChanged {
    pub stream: Uuid,
    pub name: String,
    pub schema_version: u32,
    pub deleted: bool,
}

/// Rows of a stream became visible in its table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SinkCommitted {
    pub stream: Uuid,
    /// `<namespace>.<table>`.
    pub table: String,
    pub snapshot_id: i64,
    pub rows: u64,
    /// Rows in the table after the commit.
    pub total_rows: u64,
}

/// A table of the tenant's catalog has a new current snapshot or schema.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TableCommitted {
    pub table_id: Uuid,
    pub namespace: String,
    pub table: String,
    pub metadata_version: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_id: Option<i64>,
}
