//! What others are told, in the transaction that made it true.

use contracts::envelope::event_id;
use contracts::events::{AUDIT_ENTRY_RECORDED, AuditEntryRecorded, TABLE_COMMITTED, TableCommitted};
use iceberg::spec::TableMetadata;
use kit::Scope;
use kit::database::Tx;
use kit::outbox;
use lakehouse::TableName;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::store::TableRow;

/// How it ended, with the HTTP status.
#[derive(Debug, Clone, Copy)]
pub enum Outcome {
    Allowed(u16),
    Denied(u16),
}

/// The table has new metadata.
pub async fn committed(
    tx: &mut Tx,
    scope: &Scope,
    name: &TableName,
    row: &TableRow,
    metadata: &TableMetadata,
) -> Result<()> {
    let version = u64::try_from(row.metadata_version).map_err(|_| Error::Damaged("a metadata version"))?;
    let payload = TableCommitted {
        table_id: row.id,
        namespace: name.namespace().to_string(),
        table: name.name().to_owned(),
        metadata_version: version,
        snapshot_id: metadata.current_snapshot_id(),
    };
    let id = event_id(&row.id, version, TABLE_COMMITTED);
    Ok(outbox::put(tx, scope, TABLE_COMMITTED, &row.id.to_string(), id, &payload).await?)
}

/// Somebody changed something, or was refused.
pub async fn audited(tx: &mut Tx, scope: &Scope, action: &str, resource: &str, outcome: Outcome) -> Result<()> {
    let (outcome, status) = match outcome {
        Outcome::Allowed(status) => ("allowed", status),
        Outcome::Denied(status) => ("denied", status),
    };
    let payload = AuditEntryRecorded {
        request_id: scope.request_id.clone(),
        actor: scope.actor.to_string(),
        action: action.to_owned(),
        resource: resource.to_owned(),
        outcome: outcome.to_owned(),
        status,
        detail: None,
    };
    Ok(outbox::put(tx, scope, AUDIT_ENTRY_RECORDED, &scope.request_id, Uuid::now_v7(), &payload).await?)
}
