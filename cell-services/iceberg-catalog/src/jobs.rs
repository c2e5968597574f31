//! What happens without being asked.

use std::sync::Arc;
use std::time::Duration;

use contracts::services::ICEBERG_CATALOG;
use kit::Scope;
use kit::database::Database;
use kit::placements::Placements;
use kit::tasks::{Policy, Tasks};
use time::OffsetDateTime;

use crate::error::Result;
use crate::ops::Catalog;
use crate::store;

/// Deletes what no table knows, tenant by tenant.
pub fn collect_orphans(tasks: &Tasks, database: &Database, catalog: &Arc<Catalog>, placements: &Arc<Placements>) {
    let (database, catalog, placements) = (database.clone(), Arc::clone(catalog), Arc::clone(placements));
    let stopping = tasks.stopping();
    tasks.spawn("orphans", Policy::EndProcess, async move {
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        let mut pause = seconds(catalog.settings().orphan_first_look_seconds);
        loop {
            tokio::select! {
                () = stopping.cancelled() => return Ok(()),
                () = tokio::time::sleep(pause) => {}
            }
            tokio::select! {
                () = stopping.cancelled() => return Ok(()),
                done = collect(&database, &catalog, &placements) => if let Err(error) = done {
                    tracing::warn!(error = %kit::fault::chain(&error), "orphans are looked for later");
                }
            }
            pause = seconds(catalog.settings().orphan_pause_seconds);
        }
    });
}

async fn collect(database: &Database, catalog: &Catalog, placements: &Placements) -> Result<()> {
    let mut tx = database.begin_system().await?;
    let tenants = store::tenants(&mut tx).await?;
    tx.commit().await?;
    let kept = time::Duration::seconds(catalog.settings().orphan_age_seconds.into());
    let before = OffsetDateTime::now_utc().saturating_sub(kept);
    for tenant in tenants {
        // A tenant that lives elsewhere now is none of this cell's business.
        let Some(generation) = placements.generation(&tenant) else { continue };
        let scope = Scope::of_service(ICEBERG_CATALOG, tenant.clone(), generation);
        match catalog.collect_orphans(&scope, before).await {
            Ok(0) => {}
            Ok(files) => tracing::info!(%tenant, files, "files that no table knew are deleted"),
            Err(error) => {
                tracing::warn!(%tenant, error = %kit::fault::chain(&error), "a tenant's orphans stay for now");
            }
        }
    }
    Ok(())
}
