//! Commits that lose a race are built again on what won it.

use std::time::Duration;

use kit::{Scope, nature};

use crate::bucket::TenantBucket;
use crate::catalog::{Catalog, LoadedTable};
use crate::error::{Error, Result};
use crate::names::TableName;
use crate::snapshot::Commit;

/// How one commit ended.
#[derive(Debug, Clone)]
pub struct Committed {
    /// The table after the commit, or as it was found when there was nothing to commit.
    pub table: LoadedTable,
    /// The snapshot that was added; `None` when `build` found nothing to do.
    pub snapshot_id: Option<i64>,
    /// An answer was lost on the way, or a refusal could not be proven. A file of any attempt may be
    /// in the table, or get there still: none may be deleted but by somebody who reads the table much later.
    pub doubtful: bool,
}

/// Commits sent so far.
#[derive(Default)]
struct Sent {
    snapshots: Vec<i64>,
    doubtful: bool,
}

impl Sent {
    /// One that happened, whatever its answer was.
    fn among(&self, table: &LoadedTable) -> Option<i64> {
        self.snapshots.iter().copied().find(|id| table.metadata.snapshot_by_id(*id).is_some())
    }

    /// What fails after a lost answer does not tell whether that commit happened.
    fn failure(&self, error: Error) -> Error {
        match error {
            Error::CommitUnknown(_) => error,
            _ if self.doubtful => Error::CommitUnknown(Some(error.into())),
            _ => error,
        }
    }
}

/// Loads the table, lets `build` prepare a commit on it and sends it; on a conflict all of that
/// again, at most `attempts` times. `build` returns `None` when the table shows that the work is
/// done already, which is what makes a repeated call harmless.
///
/// After a conflict or a lost answer the snapshots sent so far are looked for in the table. One that
/// is not there may come late, or have come and expired: see [`Committed::doubtful`]. Only the files of
/// a commit whose place another has taken are deleted. An error is [`Error::CommitUnknown`] whenever
/// there was such doubt before it.
pub async fn retry_commit<B, F>(
    catalog: &Catalog,
    scope: &Scope,
    bucket: &TenantBucket,
    name: &TableName,
    attempts: u32,
    mut build: B,
) -> Result<Committed>
where
    B: FnMut(LoadedTable) -> F,
    F: Future<Output = Result<Option<Commit>>>,
{
    let (mut sent, mut refused, mut attempt) = (Sent::default(), None::<Commit>, 0);
    loop {
        let table = match catalog.load(scope, name).await {
            Ok(table) => table,
            Err(error) => {
                // Without the table a refusal stays unproven.
                sent.doubtful |= refused.is_some();
                return Err(sent.failure(error));
            }
        };
        if let Some(id) = sent.among(&table) {
            return Ok(Committed { table, snapshot_id: Some(id), doubtful: sent.doubtful });
        }
        if let Some(refused) = refused.take() {
            // The refusal may be that of its own twin, delivered again after the first had landed.
            match refused.is_overtaken_in(&table.metadata) {
                true => refused.discard(bucket).await,
                false => sent.doubtful = true,
            }
        }
        if attempt >= attempts {
            return Err(sent.failure(Error::Conflict));
        }
        let Some(commit) = build(table.clone()).await.map_err(|error| sent.failure(error))? else {
            return Ok(Committed { table, snapshot_id: None, doubtful: sent.doubtful });
        };
        attempt += 1;
        sent.snapshots.push(commit.snapshot_id);
        match catalog.commit(scope, name, &commit.requirements, &commit.updates).await {
            Ok(table) => {
                return Ok(Committed { table, snapshot_id: Some(commit.snapshot_id), doubtful: sent.doubtful });
            }
            Err(Error::Conflict) => refused = Some(commit),
            Err(Error::CommitUnknown(_)) => sent.doubtful = true,
            Err(error) => {
                commit.discard(bucket).await;
                return Err(sent.failure(error));
            }
        }
        tokio::time::sleep(pause(attempt)).await;
    }
}

/// 50 ms doubling to 3.2 s, half of it at random so that losers do not meet again.
fn pause(attempt: u32) -> Duration {
    let ceiling = 50_u64 << attempt.min(6);
    Duration::from_millis(ceiling / 2 + (nature::random() % u128::from(ceiling / 2 + 1)) as u64)
}
