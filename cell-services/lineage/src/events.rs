//! Consumes run events and dataset commits from the data bus.

use std::time::Duration;

use contracts::Envelope;
use contracts::events::{
    DATASET_TRANSACTION_COMMITTED, DatasetTransactionCommitted, LINEAGE_RUN_EVENT, LineageDataset, LineageRunEvent,
};
use event_bus_data::{BusError, DataBus, Delivery, EventConsumer};
use kit::database::Database;
use kit::tasks::{Outcome, Policy, Tasks};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::domain::{Dataset, EventError, NodeName, RunEvent, RunState};
use crate::error::Error;
use crate::ops;

const BATCH: usize = 200;
const WAIT: Duration = Duration::from_secs(1);
const RETRY: Duration = Duration::from_millis(500);
const PURPOSE: &str = "graph";

type Reader<P> = fn(&Envelope<P>) -> Result<RunEvent, EventError>;

/// Spawns the consumers.
pub fn start(tasks: &Tasks, bus: &DataBus, database: &Database) -> Result<(), BusError> {
    let runs = bus.events::<LineageRunEvent>(LINEAGE_RUN_EVENT, PURPOSE)?;
    spawn(tasks, "lineage of runs", database, runs, run_event);
    let commits = bus.events::<DatasetTransactionCommitted>(DATASET_TRANSACTION_COMMITTED, PURPOSE)?;
    spawn(tasks, "lineage of dataset commits", database, commits, commit_event);
    Ok(())
}

fn spawn<P>(tasks: &Tasks, name: &'static str, database: &Database, consumer: EventConsumer<P>, read: Reader<P>)
where
    P: DeserializeOwned + Send + Sync + 'static,
{
    let (stopping, database) = (tasks.stopping(), database.clone());
    tasks.spawn(name, Policy::EndProcess, async move {
        tokio::select! {
            () = stopping.cancelled() => Ok(()),
            ended = consume(name, &database, &consumer, read) => ended,
        }
    });
}

async fn consume<P: DeserializeOwned + Send + Sync + 'static>(
    name: &str,
    database: &Database,
    consumer: &EventConsumer<P>,
    read: Reader<P>,
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
        while let Err(error) = store(database, consumer, &batch, read).await {
            tracing::warn!(task = name, error = %kit::fault::chain(error.as_ref()), "events wait");
            tokio::time::sleep(RETRY).await;
        }
        if let Err(error) = consumer.commit(&batch).await {
            // The same events come again and are known by their ids.
            tracing::warn!(task = name, error = %kit::fault::chain(&error), "offsets are committed later");
        }
    }
}

/// Stores a batch; an event that is not sound goes to the dead letters, with its reason.
async fn store<P: DeserializeOwned + Send + Sync + 'static>(
    database: &Database,
    consumer: &EventConsumer<P>,
    batch: &[Delivery<P>],
    read: Reader<P>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    // One order of locks for all: two consumers that meet in two tenants must not wait for each other.
    let mut ordered: Vec<&Delivery<P>> = batch.iter().collect();
    ordered.sort_by(|a, b| a.envelope.tenant.cmp(&b.envelope.tenant));
    let mut tx = database.begin_system().await?;
    for delivery in ordered {
        let event = read(&delivery.envelope).and_then(|event| event.check().map(|()| event));
        match event {
            Ok(event) => ops::take(&mut tx, &delivery.envelope.tenant, &event).await?,
            Err(error) => consumer.dead_letter(delivery, "lineage/event", &error.to_string()).await?,
        }
    }
    Ok(tx.commit().await.map_err(Error::from)?)
}

pub(crate) fn run_event(envelope: &Envelope<LineageRunEvent>) -> Result<RunEvent, EventError> {
    let payload = &envelope.payload;
    Ok(RunEvent {
        event_id: envelope.event_id,
        at: envelope.occurred_at,
        state: RunState::parse(&payload.event_type).ok_or(EventError::Type)?,
        run_id: payload.run_id,
        job: NodeName::job(&payload.job_namespace, &payload.job_name),
        producer: payload.producer.clone(),
        inputs: datasets(&payload.inputs)?,
        outputs: datasets(&payload.outputs)?,
    })
}

fn datasets(list: &[LineageDataset]) -> Result<Vec<Dataset>, EventError> {
    list.iter()
        .map(|dataset| {
            let facets = match &dataset.facets {
                None | Some(Value::Null) => Map::new(),
                Some(Value::Object(facets)) => facets.clone(),
                Some(_) => return Err(EventError::Facets),
            };
            Ok(Dataset { node: NodeName::dataset(&dataset.namespace, &dataset.name), facets })
        })
        .collect()
}

/// A commit says which version the dataset's table has; the run that made it is told of by its own event.
pub(crate) fn commit_event(envelope: &Envelope<DatasetTransactionCommitted>) -> Result<RunEvent, EventError> {
    let payload = &envelope.payload;
    let facets = json!({
        "version": { "datasetVersion": payload.version.to_string() },
        "outputStatistics": { "rowCount": payload.rows, "size": payload.bytes },
        "cytoplane_snapshot": { "snapshotId": payload.snapshot_id.to_string(), "transactionType": payload.kind },
    });
    let facets = match facets {
        Value::Object(facets) => facets,
        _ => Map::new(),
    };
    let table = NodeName::dataset(format!("iceberg://{}", envelope.tenant), payload.table.clone());
    Ok(RunEvent {
        event_id: envelope.event_id,
        at: envelope.occurred_at,
        state: RunState::Other,
        run_id: payload.transaction,
        job: NodeName::job("of://dataset", format!("upload.{}", payload.name)),
        producer: "https://cytoplane.dev/dataset".to_owned(),
        inputs: Vec::new(),
        outputs: vec![Dataset { node: table, facets }],
    })
}
