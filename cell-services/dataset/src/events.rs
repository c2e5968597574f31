//! What this service announces, by its outbox.

use contracts::envelope::event_id;
use contracts::events::{
    DATASET_TRANSACTION_COMMITTED, DatasetTransactionCommitted, LINEAGE_RUN_EVENT, LineageDataset, LineageRunEvent,
};
use kit::database::Tx;
use kit::{Scope, outbox};
use serde_json::json;

use crate::error::Error;
use crate::store::transactions::CommitResult;
use crate::store::{Dataset, Transaction};

const PRODUCER: &str = "https://cytoplane.dev/dataset";

/// A commit that is about to become true.
pub struct Facts<'a> {
    pub bucket: &'a str,
    pub dataset: &'a Dataset,
    pub transaction: &'a Transaction,
    pub result: &'a CommitResult,
    pub namespace: &'a str,
}

pub async fn committed(tx: &mut Tx, scope: &Scope, facts: &Facts<'_>) -> Result<(), Error> {
    let Facts { dataset, transaction, result, .. } = facts;
    let table = format!("{}.{}", facts.namespace, dataset.name);
    let fact = DatasetTransactionCommitted {
        dataset: dataset.id,
        name: dataset.name.clone(),
        transaction: transaction.id,
        kind: transaction.kind.name().to_owned(),
        version: result.version,
        rows: result.rows,
        bytes: result.bytes,
        table: table.clone(),
        snapshot_id: result.snapshot_id,
    };
    let id = |event| event_id(&transaction.id, result.version, event);
    let key = dataset.id.to_string();
    outbox::put(tx, scope, DATASET_TRANSACTION_COMMITTED, &key, id(DATASET_TRANSACTION_COMMITTED), &fact).await?;
    let run = run_event(scope, facts, table);
    outbox::put(tx, scope, LINEAGE_RUN_EVENT, &transaction.id.to_string(), id(LINEAGE_RUN_EVENT), &run).await?;
    Ok(())
}

/// The upload as an OpenLineage run: its files in, the table out.
fn run_event(scope: &Scope, facts: &Facts<'_>, table: String) -> LineageRunEvent {
    let Facts { dataset, transaction, result, .. } = facts;
    let folder = crate::ops::folder(dataset.id, transaction.id);
    let fields: Vec<_> = dataset.columns.iter().map(|c| json!({ "name": c.name, "type": c.kind })).collect();
    let facets = json!({
        "schema": {
            "_producer": PRODUCER,
            "_schemaURL": "https://openlineage.io/spec/facets/1-1-1/SchemaDatasetFacet.json",
            "fields": fields,
        },
        "version": {
            "_producer": PRODUCER,
            "_schemaURL": "https://openlineage.io/spec/facets/1-0-1/DatasetVersionDatasetFacet.json",
            "datasetVersion": result.version.to_string(),
        },
    });
    LineageRunEvent {
        event_type: "COMPLETE".to_owned(),
        run_id: transaction.id,
        job_namespace: "of://dataset".to_owned(),
        job_name: format!("upload.{}", dataset.name),
        inputs: vec![LineageDataset {
            namespace: format!("s3://{}", facts.bucket),
            name: format!("t/{}/{folder}", scope.tenant),
            facets: None,
        }],
        outputs: vec![LineageDataset {
            namespace: format!("iceberg://{}", scope.tenant),
            name: table,
            facets: Some(facets),
        }],
        producer: PRODUCER.to_owned(),
    }
}
