//! Consumes what the cell records and what datasets commit.

use std::time::Duration;

use contracts::Envelope;
use contracts::events::{
    AUDIT_ENTRY_RECORDED, AuditEntryRecorded, DATASET_TRANSACTION_COMMITTED, DatasetTransactionCommitted,
};
use event_bus_data::{DataBus, Delivery, EventConsumer};
use kit::database::Database;
use kit::tasks::{Outcome, Policy, Tasks};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::domain::Entry;
use crate::error::Error;
use crate::ops;

const BATCH: usize = 200;
const WAIT: Duration = Duration::from_secs(1);
const RETRY: Duration = Duration::from_millis(500);
const PURPOSE: &str = "chain";

/// Spawns the consumers.
pub fn start(tasks: &Tasks, bus: &DataBus, database: &Database) -> Result<(), event_bus_data::BusError> {
    let entries = bus.events::<AuditEntryRecorded>(AUDIT_ENTRY_RECORDED, PURPOSE)?;
    spawn(tasks, "audit entries", database, entries, recorded);
    let commits = bus.events::<DatasetTransactionCommitted>(DATASET_TRANSACTION_COMMITTED, PURPOSE)?;
    spawn(tasks, "audit of dataset commits", database, commits, committed);
    Ok(())
}

fn spawn<P>(
    tasks: &Tasks,
    name: &'static str,
    database: &Database,
    consumer: EventConsumer<P>,
    entry: fn(&Envelope<P>) -> Entry,
) where
    P: DeserializeOwned + Send + Sync + 'static,
{
    let (stopping, database) = (tasks.stopping(), database.clone());
    tasks.spawn(name, Policy::EndProcess, async move {
        tokio::select! {
            () = stopping.cancelled() => Ok(()),
            ended = consume(name, &database, &consumer, entry) => ended,
        }
    });
}

async fn consume<P: DeserializeOwned + Send + Sync + 'static>(
    name: &str,
    database: &Database,
    consumer: &EventConsumer<P>,
    entry: fn(&Envelope<P>) -> Entry,
) -> Outcome {
    loop {
        let batch = match consumer.next_batch(BATCH, WAIT).await {
            Ok(batch) => batch,
            Err(error) => {
                tracing::warn!(task = name, error = %kit::fault::chain(&error), "the bus does not answer");
                tokio::time::sleep(RETRY).await;
                continue;
            }
        };
        if batch.is_empty() {
            continue;
        }
        // Not acknowledged until stored: nothing is skipped, whatever the database does.
        while let Err(error) = store(database, &batch, entry).await {
            tracing::warn!(task = name, error = %kit::fault::chain(&error), "entries wait for the database");
            tokio::time::sleep(RETRY).await;
        }
        if let Err(error) = consumer.commit(&batch).await {
            // The same entries come again and are known by their ids.
            tracing::warn!(task = name, error = %kit::fault::chain(&error), "offsets are committed later");
        }
    }
}

async fn store<P>(database: &Database, batch: &[Delivery<P>], entry: fn(&Envelope<P>) -> Entry) -> Result<(), Error> {
    // One order of locks for all: two consumers that meet in two tenants must not wait for each other.
    let mut ordered: Vec<&Delivery<P>> = batch.iter().collect();
    ordered.sort_by(|a, b| a.envelope.tenant.cmp(&b.envelope.tenant));
    let mut tx = database.begin_system().await?;
    for delivery in ordered {
        let mut entry = entry(&delivery.envelope);
        let at = &delivery.position;
        entry.origin = format!("{}/{}/{}", delivery.envelope.event_type, at.partition, at.offset);
        ops::record(&mut tx, &delivery.envelope.tenant, entry).await?;
    }
    Ok(tx.commit().await?)
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
