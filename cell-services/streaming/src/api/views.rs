//! What callers see.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::Field;
use crate::ops::App;
use crate::store::{SchemaRow, StreamRow};

/// Namespace of streams' tables in the tenant's catalog.
const NAMESPACE: &str = "streams";

#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SchemaBody {
    pub fields: Vec<Field>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StreamView {
    pub id: Uuid,
    pub rid: String,
    pub name: String,
    /// `<namespace>.<table>` in the tenant's catalog. Made by the sink soon after the stream.
    pub table: String,
    pub schema_version: i32,
    pub schema: SchemaBody,
    /// Rows acknowledged by the data bus.
    pub accepted_rows: i64,
    /// Rows visible in the table, as the sink last reported.
    pub committed_rows: i64,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
}

impl StreamView {
    pub fn of(app: &App, stream: StreamRow) -> Self {
        Self {
            id: stream.id,
            rid: app.rid(stream.id),
            table: stream.table_name.unwrap_or_else(|| format!("{NAMESPACE}.{}", stream.name)),
            name: stream.name,
            schema_version: stream.schema_version,
            schema: SchemaBody { fields: stream.fields },
            accepted_rows: stream.accepted_rows,
            committed_rows: stream.committed_rows,
            created_at: stream.created_at,
            updated_at: stream.updated_at,
        }
    }
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SchemaView {
    pub version: i32,
    pub fields: Vec<Field>,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

impl From<SchemaRow> for SchemaView {
    fn from(row: SchemaRow) -> Self {
        Self { version: row.version, fields: row.fields, created_at: row.created_at }
    }
}

/// Every schema a stream has had.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SchemasView {
    pub id: Uuid,
    pub name: String,
    pub deleted: bool,
    pub schemas: Vec<SchemaView>,
}
