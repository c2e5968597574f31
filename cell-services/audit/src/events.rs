//! Consumes what the cell records and what datasets commit.

use contracts::Envelope;
use contracts::events::{
    AUDIT_ENTRY_RECORDED, AuditEntryRecorded, DATASET_TRANSACTION_COMMITTED, DatasetTransactionCommitted,
};
use event_bus_data::{BusError, DataBus, Delivery, NotStored};
use kit::database::{Database, Tx};
use kit::tasks::Tasks;
use serde_json::json;

use crate::domain::Entry;
use crate::ops;

const PURPOSE: &str = "chain";

/// Spawns the consumers.
pub fn start(tasks: &Tasks, bus: &DataBus, database: &Database) -> Result<(), BusError> {
    let entries = bus.events::<AuditEntryRecorded>(AUDIT_ENTRY_RECORDED, PURPOSE)?;
    entries.store(tasks, "audit entries", database, |tx, delivery| Box::pin(store(tx, delivery, recorded)));
    let commits = bus.events::<DatasetTransactionCommitted>(DATASET_TRANSACTION_COMMITTED, PURPOSE)?;
    commits.store(tasks, "audit of dataset commits", database, |tx, delivery| Box::pin(store(tx, delivery, committed)));
    Ok(())
}

async fn store<P>(tx: &mut Tx, delivery: &Delivery<P>, entry: fn(&Envelope<P>) -> Entry) -> Result<(), NotStored> {
    let (envelope, at) = (&delivery.envelope, delivery.position);
    let origin = format!("{}/{}/{}", envelope.event_type, at.partition, at.offset);
    Ok(ops::record(tx, &envelope.tenant, Entry { origin, ..entry(envelope) }).await?)
}

fn recorded(envelope: &Envelope<AuditEntryRecorded>) -> Entry {
    let payload = &envelope.payload;
    Entry {
        seq: 0,
        event_id: envelope.event_id,
        occurred_at: envelope.occurred_at,
        origin: String::new(),
        request_id: printable(&payload.request_id),
        actor: printable(&payload.actor),
        action: printable(&payload.action),
        resource: printable(&payload.resource),
        outcome: printable(&payload.outcome),
        status: payload.status,
        detail: payload.detail.clone().map(without_nul),
    }
}

fn committed(envelope: &Envelope<DatasetTransactionCommitted>) -> Entry {
    let payload = &envelope.payload;
    Entry {
        seq: 0,
        event_id: envelope.event_id,
        occurred_at: envelope.occurred_at,
        origin: String::new(),
        request_id: printable(&envelope.correlation_id),
        actor: "service:dataset".to_owned(),
        action: "dataset.transaction.committed".to_owned(),
        resource: printable(&payload.table),
        outcome: "allowed".to_owned(),
        status: 200,
        detail: Some(json!({
            "dataset": payload.dataset, "transaction": payload.transaction, "type": payload.kind,
            "version": payload.version, "rows": payload.rows, "snapshotId": payload.snapshot_id.to_string(),
        })),
    }
}

/// Postgres cannot keep a NUL character in text; in a log it would be hostile anyway.
pub(crate) fn printable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

pub(crate) fn without_nul(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::String(text) => Value::String(printable(&text)),
        Value::Array(items) => Value::Array(items.into_iter().map(without_nul).collect()),
        Value::Object(members) => {
            Value::Object(members.into_iter().map(|(name, member)| (printable(&name), without_nul(member))).collect())
        }
        other => other,
    }
}
