//! Reconcilers: they take no input but the state they find, and finish what a crash left.

use std::sync::Arc;
use std::time::Duration;

use contracts::services::DATASET;
use kit::Scope;
use kit::placements::Placements;
use kit::tasks::{Policy, Tasks};

use crate::error::Error;
use crate::ops::{App, commit, table, table_name, transactions};
use crate::store;
use crate::store::transactions::Chore;

const PAUSE: Duration = Duration::from_secs(20);
/// Transactions looked at per round and kind.
const BATCH: usize = 50;

pub fn start(tasks: &Tasks, app: Arc<App>, placements: Arc<Placements>) {
    let stopping = tasks.stopping();
    tasks.spawn("dataset reconciler", Policy::EndProcess, async move {
        loop {
            tokio::select! {
                () = stopping.cancelled() => return Ok(()),
                () = tokio::time::sleep(PAUSE) => {}
            }
            if let Err(error) = round(&app, &placements).await {
                tracing::warn!(error = %kit::fault::chain(&error), "datasets are reconciled later");
            }
        }
    });
}

pub(crate) async fn round(app: &Arc<App>, placements: &Placements) -> Result<(), Error> {
    // A tenant that lives elsewhere now is none of this cell's business.
    let scope_of = |chore: &Chore| {
        let generation = placements.generation(&chore.tenant)?;
        Some(Scope::of_service(DATASET, chore.tenant.clone(), generation))
    };
    let mut tx = app.database.begin_system().await?;
    let stranded = store::transactions::stranded(&mut tx, BATCH).await?;
    tx.commit().await?;
    for chore in &stranded {
        if let Some(scope) = scope_of(chore) {
            report(chore, settle(app, &scope, chore).await);
        }
    }
    let mut tx = app.database.begin_system().await?;
    let orphaned = store::transactions::orphaned(&mut tx, BATCH).await?;
    let forgotten = store::transactions::forgotten(&mut tx, app.settings.open_hours, BATCH).await?;
    tx.commit().await?;
    let orphaned = orphaned.iter().map(|chore| (chore, "its upload was cut off by a fault of the cell"));
    let forgotten = forgotten.iter().map(|chore| (chore, "nobody ended it in time"));
    for (chore, reason) in orphaned.chain(forgotten) {
        if let Some(scope) = scope_of(chore) {
            let ended = transactions::abort(app, &scope, &chore.dataset.to_string(), chore.id, reason).await;
            report(chore, ended.map(|_| ()));
        }
    }
    let mut tx = app.database.begin_system().await?;
    let unswept = store::transactions::unswept(&mut tx, BATCH).await?;
    tx.commit().await?;
    for chore in &unswept {
        if let Some(scope) = scope_of(chore) {
            report(chore, transactions::try_sweep(app, &scope, chore.dataset, chore.id).await);
        }
    }
    Ok(())
}

/// A commit that died: if its snapshot is in the table it is finished, else the transaction is open
/// again, for the user to commit or abort, or for the next round if it was an upload in one call.
async fn settle(app: &Arc<App>, scope: &Scope, chore: &Chore) -> Result<(), Error> {
    let found = table::existing(app, scope, &table_name(&chore.dataset_name)?).await?;
    let committed = found.is_some_and(|table| table::committed_by(&table.metadata, chore.id).is_some());
    if committed {
        return commit::run(app, scope, chore.dataset, chore.id, &commit::Reading::default()).await;
    }
    let mut tx = app.database.begin(scope).await?;
    let transaction = store::transactions::lock(&mut tx, scope, chore.dataset, chore.id).await?;
    let expired = transaction.busy_until.is_some_and(|until| until < time::OffsetDateTime::now_utc());
    if expired {
        store::transactions::lease(&mut tx, scope, chore.id, None).await?;
    }
    Ok(tx.commit().await?)
}

fn report(chore: &Chore, outcome: Result<(), Error>) {
    if let Err(error) = outcome {
        let error = kit::fault::chain(&error);
        tracing::warn!(tenant = %chore.tenant, transaction = %chore.id, error, "a transaction is reconciled later");
    }
}
