//! Empties cells, step by step (docs/adr/0018-a-cell-is-emptied.md).
//!
//! Invariant: every step is one transaction of the elected writer, which finds what is left to do in the database. So a
//! process that dies leaves nothing half done, and the next writer goes on.

use std::time::Duration;

use crate::Tenancy;
use crate::error::Error;
use crate::ops::draining::{Progress, step};
use crate::store::drains;

/// Between two steps that only change routes: time to stop a drain, and for routers to follow.
const REST: Duration = Duration::from_millis(30);
/// Between two looks at what has to wait for moves.
const LOOK: Duration = Duration::from_millis(500);

/// Follows all drains that there are, and those to come.
pub async fn look(tenancy: &Tenancy) -> Result<(), Error> {
    loop {
        let goes_on = tenancy.is_writer() && step_each(tenancy).await?;
        let pause = if goes_on { REST } else { LOOK };
        let _ = tokio::time::timeout(pause, tenancy.0.drains_wanted.notified()).await;
    }
}

/// One step of each; whether any has more to do at once.
async fn step_each(tenancy: &Tenancy) -> Result<bool, Error> {
    let mut goes_on = false;
    for drain in drains::under_way(&mut *tenancy.0.pool.acquire().await?).await? {
        match step(tenancy, &drain).await {
            Ok(Progress::Went) => goes_on = true,
            Ok(Progress::Waits) => {}
            Ok(Progress::Ended) => tracing::info!(cell = drain.cell, "a cell is empty"),
            Err(Error::NotWriter) => return Err(Error::NotWriter),
            Err(error) => {
                tracing::warn!(cell = drain.cell, %error, "a cell is not emptied further for now");
                drains::complain(&mut *tenancy.0.pool.acquire().await?, drain.id, &error.to_string()).await?;
            }
        }
    }
    Ok(goes_on)
}
