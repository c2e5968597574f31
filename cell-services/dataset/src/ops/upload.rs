//! Open, stream and commit in one call.

use std::sync::Arc;

use axum::body::Body;
use contracts::claims::scope;
use kit::Scope;

use super::commit::{self, Reading};
use super::lease::{self, Lease};
use super::transactions::Hold;
use super::upload_key::{self, Sent};
use super::{App, transactions};
use crate::domain::{Format, TransactionKind};
use crate::error::Error;
use crate::store::{Dataset, FileRow, Transaction};

/// An upload as it comes in.
pub struct Arrival {
    pub kind: TransactionKind,
    pub reading: Reading,
    /// With one, a repeat of an upload that was committed is answered as it was and adds nothing.
    pub key: Option<String>,
    pub body: Body,
}

/// A committed upload.
pub struct Landed {
    pub dataset: Dataset,
    pub transaction: Transaction,
    pub files: Vec<FileRow>,
    /// It was committed by an earlier call with the same key.
    pub replayed: bool,
}

/// Whatever goes wrong, the transaction does not stay open: should this process die, its lease runs out and the
/// reconciler aborts it.
pub async fn upload(app: &Arc<App>, scope: &Scope, reference: &str, arrival: Arrival) -> Result<Landed, Error> {
    scope.require(scope::DATASETS_WRITE)?;
    let Some(format) = arrival.reading.format else {
        return Err(Error::Parameter(
            "give format=csv, ndjson or parquet, or the content type of one of them".to_owned(),
        ));
    };
    let (shared, caller, name) = (Arc::clone(app), scope.clone(), reference.to_owned());
    let work = async move { whole(&shared, &caller, &name, format, arrival).await };
    app.detached("dataset upload", work).await
}

async fn whole(
    app: &Arc<App>,
    scope: &Scope,
    reference: &str,
    format: Format,
    arrival: Arrival,
) -> Result<Landed, Error> {
    let Arrival { kind, reading, key, body } = arrival;
    let sent = key.as_ref().map(|_| Sent::new(kind, format, &reading.dialect));
    if let (Some(key), Some(sent)) = (&key, &sent)
        && let Some(before) = upload_key::before(app, scope, reference, key).await?
    {
        return upload_key::repeat(app, before, sent, body).await;
    }
    let hold = Hold { until: lease::term(), upload_key: key.as_deref() };
    let (dataset, transaction) = transactions::open_held(app, scope, reference, kind, Some(hold)).await?;
    let file = FileRow::new(&format!("upload.{}", format.extension()), Some(format));
    let id = dataset.id.to_string();
    let committed = async {
        let body = match &sent {
            Some(sent) => sent.digesting(body),
            None => body,
        };
        transactions::store_file(app, scope, dataset.id, transaction.id, file, body).await?;
        if let Some(sent) = &sent {
            upload_key::keep(app, scope, transaction.id, sent).await?;
        }
        commit::run(app, scope, dataset.id, transaction.id, &reading).await?;
        transactions::get_own(app, scope, &id, transaction.id).await
    };
    match lease::renewed(app, scope, transaction.id, Lease::End, committed).await {
        Ok((dataset, transaction, files)) => Ok(Landed { dataset, transaction, files, replayed: false }),
        Err(error) => {
            let reason = error.to_string();
            // A commit that could not be settled keeps its lease and is settled by the job.
            if let Err(left) = transactions::abort(app, scope, &id, transaction.id, &reason).await {
                tracing::warn!(transaction = %transaction.id, error = %kit::fault::chain(&left), "a failed upload is not aborted");
            }
            Err(error)
        }
    }
}
