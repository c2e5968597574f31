//! Leases: while one is renewed its holder is alive; once it has run out, whoever finds it takes over.

use std::time::Duration;

use kit::Scope;
use time::OffsetDateTime;
use uuid::Uuid;

use super::App;
use crate::error::Error;
use crate::store;

/// Outlives two missed renewals.
const TERM: Duration = Duration::from_secs(30);
const RENEWAL: Duration = Duration::from_secs(10);

/// What is leased of a transaction.
#[derive(Debug, Clone, Copy)]
pub enum Lease {
    /// Its commit: meanwhile nothing else happens to it.
    Commit,
    /// Its end: the call that opened it will commit or abort it.
    End,
}

/// When a lease taken now runs out.
pub fn term() -> OffsetDateTime {
    OffsetDateTime::now_utc() + TERM
}

/// Renews the lease for as long as `work` takes.
pub async fn renewed<T>(
    app: &App,
    scope: &Scope,
    id: Uuid,
    lease: Lease,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::pin!(work);
    loop {
        tokio::select! {
            outcome = &mut work => return outcome,
            () = tokio::time::sleep(RENEWAL) => {
                if let Err(error) = renew(app, scope, id, lease).await {
                    // Without a commit's lease another may begin, and the table lets only one of them through;
                    // without the end's the transaction may be aborted, and its own commit is then refused.
                    tracing::warn!(transaction = %id, ?lease, error = %kit::fault::chain(&error), "a lease is not renewed");
                }
            }
        }
    }
}

async fn renew(app: &App, scope: &Scope, id: Uuid, lease: Lease) -> Result<(), Error> {
    let mut tx = app.database.begin(scope).await?;
    match lease {
        Lease::Commit => store::transactions::lease(&mut tx, scope, id, Some(term())).await?,
        Lease::End => store::transactions::hold(&mut tx, scope, id, term()).await?,
    }
    Ok(tx.commit().await?)
}
