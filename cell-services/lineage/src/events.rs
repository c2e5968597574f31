//! Consumes run events and dataset commits from the data bus.

use contracts::Envelope;
use contracts::events::{
    DATASET_TRANSACTION_COMMITTED, DatasetTransactionCommitted, LINEAGE_RUN_EVENT, LineageDataset, LineageRunEvent,
};
use event_bus_data::{BusError, DataBus, Delivery, NotStored};
use kit::database::{Database, Tx};
use kit::tasks::Tasks;
use serde_json::{Map, Value, json};

use crate::domain::{Dataset, EventError, NodeName, RunEvent, RunState};
use crate::ops;

const PURPOSE: &str = "graph";

/// Spawns the consumers.
pub fn start(tasks: &Tasks, bus: &DataBus, database: &Database) -> Result<(), BusError> {
    let runs = bus.events::<LineageRunEvent>(LINEAGE_RUN_EVENT, PURPOSE)?;
    runs.store(tasks, "lineage of runs", database, |tx, delivery| Box::pin(store(tx, delivery, run_event)));
    let commits = bus.events::<DatasetTransactionCommitted>(DATASET_TRANSACTION_COMMITTED, PURPOSE)?;
    commits.store(tasks, "lineage of dataset commits", database, |tx, delivery| {
        Box::pin(store(tx, delivery, commit_event))
    });
    Ok(())
}

type Reader<P> = fn(&Envelope<P>) -> Result<RunEvent, EventError>;

async fn store<P>(tx: &mut Tx, delivery: &Delivery<P>, read: Reader<P>) -> Result<(), NotStored> {
    let event = read(&delivery.envelope).and_then(|event| event.check().map(|()| event));
    let unsound = |error: EventError| NotStored::Unsound { code: "lineage/event", detail: error.to_string() };
    Ok(ops::take(tx, &delivery.envelope.tenant, &event.map_err(unsound)?).await?)
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
