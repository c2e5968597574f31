//! Reconcilers: the election, and the routing feed's wake-ups.

use std::sync::Arc;
use std::time::Duration;

use kit::tasks::Tasks;
use sqlx::postgres::PgListener;

use crate::Tenancy;
use crate::draining;
use crate::error::Error;
use crate::leading::{self, Cells};
use crate::store::routing;

/// A missed notification delays a change by no more than this.
const FEED_POLL: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(500);

/// Follows notifications until the connection breaks.
async fn listen(tenancy: &Tenancy) -> Result<(), Error> {
    let mut listener = PgListener::connect_with(&tenancy.0.pool).await?;
    listener.listen(routing::CHANNEL).await?;
    loop {
        let head = routing::head(&mut *tenancy.0.pool.acquire().await?).await?;
        tenancy.heard(head);
        if let Ok(heard) = tokio::time::timeout(FEED_POLL, listener.recv()).await {
            heard?;
        }
    }
}

pub fn spawn(tenancy: &Tenancy, tasks: &Tasks) {
    tasks.every("tenancy: election", PAUSE, tenancy, |t| async move { t.0.election.hold(&t.0.pool).await });
    tasks.every("tenancy: notifications", PAUSE, tenancy, |t| async move { listen(&t).await });
    tasks.every("tenancy: drains", PAUSE, tenancy, |t| async move { draining::look(&t).await });
}

pub fn lead(tenancy: &Tenancy, tasks: &Tasks, cells: Arc<dyn Cells>) {
    let own = (tenancy.clone(), cells, tasks.clone());
    tasks.every("tenancy: moves", PAUSE, &own, |(tenancy, cells, tasks)| async move {
        leading::look(&tenancy, &cells, &tasks).await
    });
}
