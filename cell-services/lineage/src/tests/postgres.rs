//! Against a real Postgres, as the service's own role.

use anyhow::Result;
use kit::database::Database;
use kit::fault::{Fault, Kind};
use kit::http::PageRequest;

use super::{at, event};
use crate::api::RunEventRequest;
use crate::domain::{Dataset, NodeName, RunEvent, RunState};
use crate::ops;

async fn database() -> Result<Database> {
    testkit::database(&sqlx::migrate!()).await
}

/// One run that reads `from` and writes `to`.
fn step(from: &str, to: &str) -> RunEvent {
    let dataset = |name: &str| Dataset { node: NodeName::dataset("iceberg://acme", name), facets: Default::default() };
    RunEvent {
        job: NodeName::job("of://test", format!("{from}-{to}")),
        inputs: vec![dataset(from)],
        outputs: vec![dataset(to)],
        run_id: uuid::Uuid::now_v7(),
        ..event()
    }
}

fn node(name: &str) -> String {
    NodeName::dataset("iceberg://acme", name).id()
}

#[tokio::test]
async fn the_graph_leads_up_and_down_as_far_as_asked_and_not_to_siblings() -> Result<()> {
    let (database, acme) = (database().await?, testkit::scope("acme")?);
    for (from, to) in [("raw", "clean"), ("clean", "daily"), ("daily", "yearly"), ("raw", "other")] {
        ops::submit(&database, &acme, &step(from, to)).await?;
    }
    let (walk, rows) = ops::graph(&database, &acme, &node("clean"), 20).await?;
    let reached = |name: &str| walk.nodes.contains(&node(name));
    assert!(reached("raw") && reached("daily") && reached("yearly") && !reached("other"));
    assert_eq!((walk.nodes.len(), rows.len(), walk.truncated), (7, 7, false));
    let (near, _) = ops::graph(&database, &acme, &node("clean"), 2).await?;
    assert!(near.nodes.contains(&node("daily")) && !near.nodes.contains(&node("yearly")));
    Ok(())
}

#[tokio::test]
async fn another_tenants_graph_is_not_there() -> Result<()> {
    let database = database().await?;
    ops::submit(&database, &testkit::scope("acme")?, &step("raw", "clean")).await?;
    let globex = testkit::scope("globex")?;
    let absent = ops::graph(&database, &globex, &node("clean"), 5).await.unwrap_err();
    assert_eq!(absent.kind(), Kind::NotFound);
    assert!(ops::events(&database, &globex, None, &PageRequest::default()).await?.data.is_empty());
    Ok(())
}

#[tokio::test]
async fn what_one_tenant_reported_does_not_hide_the_same_report_of_another() -> Result<()> {
    let database = database().await?;
    let report = serde_json::json!({
        "eventType": "COMPLETE", "eventTime": "2026-01-01T00:00:00Z", "producer": "https://example.com",
        "run": { "runId": uuid::Uuid::now_v7() }, "job": { "namespace": "n", "name": "j" },
    });
    for tenant in ["acme", "globex"] {
        let scope = testkit::scope(tenant)?;
        for _ in 0..2 {
            let request: RunEventRequest = serde_json::from_value(report.clone())?;
            ops::submit(&database, &scope, &request.event(&scope.tenant)?).await?;
        }
        assert_eq!(ops::events(&database, &scope, None, &PageRequest::default()).await?.data.len(), 1, "{tenant}");
    }
    Ok(())
}

#[tokio::test]
async fn an_event_that_comes_again_or_late_changes_nothing() -> Result<()> {
    let (database, acme) = (database().await?, testkit::scope("acme")?);
    let complete = RunEvent { at: at(10), ..step("raw", "clean") };
    let start = RunEvent { event_id: uuid::Uuid::now_v7(), state: RunState::Start, at: at(1), ..complete.clone() };
    for event in [&complete, &complete, &start, &complete] {
        ops::submit(&database, &acme, event).await?;
    }
    let events = ops::events(&database, &acme, Some(complete.run_id), &PageRequest::default()).await?;
    assert_eq!(events.data.len(), 2);
    let (_, rows) = ops::graph(&database, &acme, &complete.job.id(), 1).await?;
    let job = rows.iter().find(|row| row.kind == "JOB").unwrap();
    assert_eq!(job.latest["latestRun"]["state"], "COMPLETE");
    Ok(())
}

#[tokio::test]
async fn two_tenants_may_report_the_same_event() -> Result<()> {
    let (database, event) = (database().await?, step("raw", "clean"));
    for tenant in ["acme", "globex"] {
        let scope = testkit::scope(tenant)?;
        ops::submit(&database, &scope, &event).await?;
        let events = ops::events(&database, &scope, None, &PageRequest::default()).await?;
        assert_eq!(events.data.len(), 1, "{tenant}");
    }
    Ok(())
}

#[tokio::test]
async fn many_writers_of_one_tenant_do_not_lose_each_other() -> Result<()> {
    let (database, acme) = (database().await?, testkit::scope("acme")?);
    let mut writers = tokio::task::JoinSet::new();
    for n in 0..12 {
        let (database, acme) = (database.clone(), acme.clone());
        writers.spawn(async move { ops::submit(&database, &acme, &step("raw", &format!("t{n}"))).await });
    }
    for written in writers.join_all().await {
        written?;
    }
    let (walk, _) = ops::graph(&database, &acme, &node("raw"), 2).await?;
    assert_eq!(walk.nodes.len(), 25);
    Ok(())
}

#[tokio::test]
async fn writing_and_reading_need_their_scopes() -> Result<()> {
    let database = database().await?;
    let reader = testkit::scope_with("acme", "lineage:read")?;
    let refused = ops::submit(&database, &reader, &step("raw", "clean")).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Forbidden);
    let writer = testkit::scope_with("acme", "lineage:write")?;
    ops::submit(&database, &writer, &step("raw", "clean")).await?;
    let refused = ops::graph(&database, &writer, &node("raw"), 1).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Forbidden);
    Ok(())
}
