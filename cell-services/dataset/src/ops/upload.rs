//! Open, stream and commit in one call.

use std::sync::Arc;

use axum::body::Body;
use contracts::claims::scope;
use kit::Scope;

use super::commit::{self, Reading};
use super::lease::{self, Lease};
use super::{App, transactions};
use crate::domain::{Format, TransactionKind};
use crate::error::Error;
use crate::store::{Dataset, FileRow, Transaction};

/// Whatever goes wrong, the transaction does not stay open: should this process die, its lease runs out and the
/// reconciler aborts it.
pub async fn upload(
    app: &Arc<App>,
    scope: &Scope,
    reference: &str,
    kind: TransactionKind,
    reading: Reading,
    body: Body,
) -> Result<(Dataset, Transaction, Vec<FileRow>), Error> {
    scope.require(scope::DATASETS_WRITE)?;
    let Some(format) = reading.format else {
        return Err(Error::Parameter(
            "give format=csv, ndjson or parquet, or the content type of one of them".to_owned(),
        ));
    };
    let (shared, caller, name) = (Arc::clone(app), scope.clone(), reference.to_owned());
    let work = async move { whole(&shared, &caller, &name, kind, format, reading, body).await };
    app.detached("dataset upload", work).await
}

async fn whole(
    app: &Arc<App>,
    scope: &Scope,
    reference: &str,
    kind: TransactionKind,
    format: Format,
    reading: Reading,
    body: Body,
) -> Result<(Dataset, Transaction, Vec<FileRow>), Error> {
    let (dataset, transaction) = transactions::open_held(app, scope, reference, kind, Some(lease::term())).await?;
    let file = FileRow::new(&format!("upload.{}", format.extension()), Some(format));
    let id = dataset.id.to_string();
    let committed = async {
        transactions::store_file(app, scope, dataset.id, transaction.id, file, body).await?;
        commit::run(app, scope, dataset.id, transaction.id, &reading).await?;
        transactions::get_own(app, scope, &id, transaction.id).await
    };
    match lease::renewed(app, scope, transaction.id, Lease::End, committed).await {
        Ok(done) => Ok(done),
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
