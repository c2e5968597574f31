//! Against a real Postgres, as the service's own role.

use anyhow::Result;
use contracts::TenantId;
use kit::database::Database;
use kit::fault::{Fault, Kind};
use kit::http::PageRequest;

use super::entry;
use crate::domain::Filter;
use crate::ops;

async fn database() -> Result<Database> {
    testkit::database(&sqlx::migrate!()).await
}

async fn record(database: &Database, tenant: &str, resources: &[&str]) -> Result<()> {
    for resource in resources {
        let mut tx = database.begin_system().await?;
        ops::record(&mut tx, &TenantId::new(tenant)?, entry(resource)).await?;
        tx.commit().await?;
    }
    Ok(())
}

#[tokio::test]
async fn entries_are_chained_per_tenant_and_seen_by_their_tenant_only() -> Result<()> {
    let database = database().await?;
    record(&database, "acme", &["/1", "/2", "/3"]).await?;
    record(&database, "globex", &["/other"]).await?;
    let acme = testkit::scope("acme")?;
    let page = PageRequest { page_size: Some(2), page_token: None };
    let first = ops::entries(&database, &acme, &Filter::default(), &page).await?;
    let seen: Vec<&str> = first.data.iter().map(|link| link.entry.resource.as_str()).collect();
    assert_eq!(seen, ["/3", "/2"]);
    let rest = PageRequest { page_size: Some(2), page_token: first.next_page_token };
    let rest = ops::entries(&database, &acme, &Filter::default(), &rest).await?;
    assert_eq!((rest.data.len(), rest.data[0].entry.seq, rest.next_page_token.is_none()), (1, 1, true));
    let walk = ops::verify(&database, &acme).await?;
    assert_eq!((walk.entries, walk.broken_at), (3, None));
    assert_eq!(ops::verify(&database, &testkit::scope("globex")?).await?.entries, 1);
    assert_eq!(ops::verify(&database, &testkit::scope("nobody")?).await?.entries, 0);
    Ok(())
}

#[tokio::test]
async fn the_same_event_is_recorded_once() -> Result<()> {
    let database = database().await?;
    let once = entry("/once");
    for _ in 0..3 {
        let mut tx = database.begin_system().await?;
        ops::record(&mut tx, &TenantId::new("acme")?, once.clone()).await?;
        tx.commit().await?;
    }
    assert_eq!(ops::verify(&database, &testkit::scope("acme")?).await?.entries, 1);
    Ok(())
}

#[tokio::test]
async fn nobody_changes_removes_or_empties_the_log() -> Result<()> {
    let database = database().await?;
    record(&database, "acme", &["/1"]).await?;
    for statement in ["update audit_entry set actor = 'user:other'", "delete from audit_entry", "truncate audit_entry"]
    {
        let mut tx = database.begin_system().await?;
        let refused = sqlx::query(statement).execute(&mut *tx).await.unwrap_err();
        assert!(
            refused.as_database_error().is_some_and(|e| e.code().is_some_and(|c| c == "42501")),
            "{statement}: {refused}"
        );
    }
    assert_eq!(ops::verify(&database, &testkit::scope("acme")?).await?.broken_at, None);
    Ok(())
}

#[tokio::test]
async fn writers_of_one_tenant_queue_up_and_leave_no_gap() -> Result<()> {
    let database = database().await?;
    let writers = (0..8).map(|n| {
        let database = database.clone();
        async move {
            let resource = format!("/{n}");
            record(&database, "acme", &[&resource, &resource]).await
        }
    });
    for written in join(writers.collect()).await {
        written?;
    }
    let walk = ops::verify(&database, &testkit::scope("acme")?).await?;
    assert_eq!((walk.entries, walk.broken_at), (16, None));
    Ok(())
}

async fn join<F>(futures: Vec<F>) -> Vec<Result<()>>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let mut running = tokio::task::JoinSet::new();
    for future in futures {
        running.spawn(future);
    }
    running.join_all().await
}

#[tokio::test]
async fn filters_narrow_and_reading_needs_its_scope() -> Result<()> {
    let database = database().await?;
    record(&database, "acme", &["/1", "/2"]).await?;
    let acme = testkit::scope("acme")?;
    let page = PageRequest::default();
    let by_actor = Filter { actor: Some("user:nobody".into()), ..Filter::default() };
    assert!(ops::entries(&database, &acme, &by_actor, &page).await?.data.is_empty());
    let then = entry("").occurred_at;
    let later = then + time::Duration::seconds(1);
    for (from, to, found) in
        [(Some(then), None, 2), (Some(later), None, 0), (None, Some(later), 2), (None, Some(then), 0)]
    {
        let by_time = Filter { from, to, ..Filter::default() };
        assert_eq!(ops::entries(&database, &acme, &by_time, &page).await?.data.len(), found, "{from:?} to {to:?}");
    }
    let other = testkit::scope_with("acme", "datasets:read lineage:read")?;
    let refused = ops::entries(&database, &other, &Filter::default(), &page).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Forbidden);
    Ok(())
}

/// Its entries stayed when it left, and its head went with it.
#[tokio::test]
async fn a_tenant_that_comes_back_without_its_head_goes_on_after_its_last_entry() -> Result<()> {
    let database = database().await?;
    record(&database, "acme", &["/1", "/2"]).await?;
    let mut tx = database.begin_system().await?;
    sqlx::query("delete from audit_chain").execute(&mut *tx).await?;
    tx.commit().await?;
    record(&database, "acme", &["/3"]).await?;
    let walk = ops::verify(&database, &testkit::scope("acme")?).await?;
    assert_eq!((walk.entries, walk.broken_at), (3, None));
    Ok(())
}
