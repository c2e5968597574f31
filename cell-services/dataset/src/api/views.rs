//! What callers see.

use contracts::{CellId, Rid};
use serde::Serialize;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::column::ColumnView;
use crate::domain::{Format, State, TransactionKind};
use crate::ops::NAMESPACE;
use crate::store::{Dataset, FileRow, Transaction};

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatasetView {
    pub id: Uuid,
    /// `ri.dataset.<cell>.dataset.<uuid>`.
    pub rid: String,
    pub name: String,
    pub description: String,
    /// Name of the table in SQL and in the Iceberg catalog.
    pub table: String,
    /// Newest version; 0 before the first commit.
    pub version: u64,
    pub rows: u64,
    pub schema: Vec<ColumnView>,
    pub created_by: String,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
}

impl DatasetView {
    pub fn of(cell: &CellId, dataset: Dataset) -> Self {
        let rid = Rid { service: "dataset".to_owned(), cell: cell.clone(), kind: "dataset".to_owned(), id: dataset.id };
        Self {
            id: dataset.id,
            rid: rid.to_string(),
            table: format!("{NAMESPACE}.{}", dataset.name),
            name: dataset.name,
            description: dataset.description,
            version: dataset.version,
            rows: dataset.rows,
            schema: dataset.columns,
            created_by: dataset.created_by,
            created_at: dataset.created_at,
            updated_at: dataset.updated_at,
        }
    }
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileView {
    pub path: String,
    pub bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
}

impl From<FileRow> for FileView {
    fn from(file: FileRow) -> Self {
        Self { path: file.path, bytes: file.bytes, format: file.format }
    }
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TransactionView {
    pub id: Uuid,
    pub dataset: Uuid,
    #[serde(rename = "type")]
    pub kind: TransactionKind,
    pub state: State,
    pub table: String,
    pub opened_by: String,
    #[serde(with = "time::serde::rfc3339")]
    pub opened_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<OffsetDateTime>,
    /// Version the commit made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// Rows the transaction brought.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Rows of the dataset after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_rows: Option<u64>,
    /// Bytes as uploaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Iceberg snapshot, as text: it has more digits than a JavaScript number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_id: Option<String>,
    /// Columns of the dataset after it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub schema: Vec<ColumnView>,
    /// Why it was aborted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<Vec<FileView>>,
}

impl TransactionView {
    pub fn of(dataset: &Dataset, transaction: Transaction, files: Option<Vec<FileRow>>) -> Self {
        Self {
            id: transaction.id,
            dataset: transaction.dataset,
            kind: transaction.kind,
            state: transaction.state,
            table: format!("{NAMESPACE}.{}", dataset.name),
            opened_by: transaction.opened_by,
            opened_at: transaction.opened_at,
            closed_at: transaction.closed_at,
            version: transaction.version,
            rows: transaction.rows,
            total_rows: transaction.total_rows,
            bytes: transaction.bytes,
            snapshot_id: transaction.snapshot_id.map(|id| id.to_string()),
            schema: transaction.columns,
            reason: transaction.reason,
            files: files.map(|files| files.into_iter().map(FileView::from).collect()),
        }
    }
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VersionView {
    pub version: u64,
    pub transaction: Uuid,
    #[serde(rename = "type")]
    pub kind: TransactionKind,
    pub rows: u64,
    pub total_rows: u64,
    pub bytes: u64,
    pub snapshot_id: String,
    #[serde(with = "time::serde::rfc3339")]
    pub committed_at: OffsetDateTime,
}

impl From<Transaction> for VersionView {
    fn from(transaction: Transaction) -> Self {
        Self {
            version: transaction.version.unwrap_or_default(),
            transaction: transaction.id,
            kind: transaction.kind,
            rows: transaction.rows.unwrap_or_default(),
            total_rows: transaction.total_rows.unwrap_or_default(),
            bytes: transaction.bytes.unwrap_or_default(),
            snapshot_id: transaction.snapshot_id.unwrap_or_default().to_string(),
            committed_at: transaction.closed_at.unwrap_or(transaction.opened_at),
        }
    }
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct SchemaView {
    pub version: u64,
    pub fields: Vec<ColumnView>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct PreviewView {
    pub version: u64,
    pub schema: Vec<ColumnView>,
    /// One object per row, with every column.
    #[schema(value_type = Vec<Object>)]
    pub rows: Vec<serde_json::Value>,
}
