//! Reconcilers: the election, and the routing feed's wake-ups.

use std::time::Duration;

use kit::tasks::{Policy, Tasks};
use sqlx::postgres::PgListener;

use crate::Tenancy;
use crate::error::Error;
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
    every(tenancy, tasks, "tenancy: election", |t| async move { t.0.election.hold(&t.0.pool).await });
    every(tenancy, tasks, "tenancy: notifications", |t| async move { listen(&t).await });
}

/// Runs `work` again and again. A failure is told and tried again: the database may be away for a
/// while, and a plane that ends because of it would only come back more slowly.
fn every<F, W>(tenancy: &Tenancy, tasks: &Tasks, name: &'static str, work: W)
where
    F: Future<Output = Result<(), Error>> + Send + 'static,
    W: Fn(Tenancy) -> F + Send + 'static,
{
    let (tenancy, stopping) = (tenancy.clone(), tasks.stopping());
    tasks.spawn(name, Policy::EndProcess, async move {
        loop {
            tokio::select! {
                () = stopping.cancelled() => return Ok(()),
                done = work(tenancy.clone()) => if let Err(error) = done {
                    tracing::warn!(job = name, error = %kit::fault::chain(&error), "job failed; it will be tried again");
                },
            }
            tokio::select! {
                () = stopping.cancelled() => return Ok(()),
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    });
}
