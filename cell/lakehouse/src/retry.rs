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
}

/// Loads the table, lets `build` prepare a commit on it and sends it; on a conflict all of that
/// again, at most `attempts` times. `build` returns `None` when the table shows that the work is
/// done already, which is what makes a repeated call harmless.
///
/// When the catalog's answer is lost, the snapshot's id is looked for in the table: the commit
/// either happened or can no longer happen after the next one, because each asserts its parent.
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
    let mut unknown: Option<i64> = None;
    let mut attempt = 0;
    loop {
        let table = catalog.load(scope, name).await?;
        if let Some(id) = unknown.take()
            && table.metadata.snapshot_by_id(id).is_some()
        {
            return Ok(Committed { table, snapshot_id: Some(id) });
        }
        let Some(commit) = build(table.clone()).await? else { return Ok(Committed { table, snapshot_id: None }) };
        attempt += 1;
        match catalog.commit(scope, name, &commit.requirements, &commit.updates).await {
            Ok(table) => return Ok(Committed { table, snapshot_id: Some(commit.snapshot_id) }),
            Err(Error::Conflict) if attempt < attempts => commit.discard(bucket).await,
            Err(Error::CommitUnknown(_)) if attempt < attempts => unknown = Some(commit.snapshot_id),
            Err(error) => {
                if !matches!(error, Error::CommitUnknown(_)) {
                    commit.discard(bucket).await;
                }
                return Err(error);
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
