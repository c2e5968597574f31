//! One function per use case.

use contracts::claims::scope;
use contracts::services::AUDIT;
use kit::database::{Database, Tx};
use kit::http::{Page, PageRequest};
use kit::{Scope, inbox};

use crate::domain::{self, Entry, Filter, Link, Walk};
use crate::error::Error;
use crate::store;

/// Links read at a time while a chain is walked.
const BATCH: usize = 2_000;

/// Records an entry once, whatever the bus repeats. The tenant's chain stays locked until the
/// transaction ends, so entries of one tenant have one order.
pub async fn record(tx: &mut Tx, tenant: &contracts::TenantId, entry: Entry) -> Result<(), Error> {
    if !inbox::first_time(tx, AUDIT, entry.event_id).await? {
        return Ok(());
    }
    let head = store::lock_head(tx, tenant).await?;
    let link = domain::append(tenant, head, entry);
    store::append(tx, tenant, &link).await
}

pub async fn entries(
    database: &Database,
    scope: &Scope,
    filter: &Filter,
    page: &PageRequest,
) -> Result<Page<Link>, Error> {
    scope.require(scope::AUDIT_READ)?;
    let (size, before) = (page.size()?, page.after::<u64>()?);
    let mut tx = database.begin(scope).await?;
    let rows = store::list(&mut tx, scope, filter, before, size + 1).await?;
    tx.commit().await?;
    Ok(Page::of(rows, size, |link| link.entry.seq))
}

/// Walks the tenant's whole chain, in constant memory.
pub async fn verify(database: &Database, scope: &Scope) -> Result<Walk, Error> {
    scope.require(scope::AUDIT_READ)?;
    let mut walk = Walk::default();
    // The head is read first: entries that come in meanwhile are beyond it and not walked.
    let mut tx = database.begin(scope).await?;
    let head = store::head(&mut tx, scope).await?;
    tx.commit().await?;
    let last = head.map_or(0, |(seq, _)| seq);
    while walk.entries < last {
        let mut tx = database.begin(scope).await?;
        let links = store::chain(&mut tx, scope, walk.entries, BATCH).await?;
        tx.commit().await?;
        if links.is_empty() {
            break;
        }
        for link in links.iter().filter(|link| link.entry.seq <= last) {
            if !walk.step(&scope.tenant, link) {
                return Ok(walk);
            }
        }
    }
    walk.end(head);
    Ok(walk)
}
