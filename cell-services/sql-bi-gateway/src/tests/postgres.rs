//! Against a real Postgres, as the service's own role.

use std::time::Duration;

use anyhow::Result;
use kit::Scope;
use kit::database::Database;
use kit::metrics::Metrics;
use kit::tasks::Tasks;

use super::{pin, run};
use crate::domain::{Run, State};
use crate::events::Recorder;
use crate::measured::Statements;
use crate::store::{self, Past};

async fn database() -> Result<Database> {
    testkit::database(&sqlx::migrate!()).await
}

fn run_of(scope: &Scope) -> Run {
    Run { scope: scope.clone(), ..run(vec![pin("streams", "flights")], State::Finished) }
}

/// Records `runs` and stops, so that all are written.
async fn record(database: &Database, runs: &[Run]) -> Result<()> {
    let (tasks, _failures) = Tasks::new();
    let recorder = Recorder::start(&tasks, database.clone(), runs.len(), Statements::new(&Metrics::default()));
    for run in runs {
        recorder.reserve()?.record(run.clone());
    }
    drop(recorder);
    assert!(tasks.drain(Duration::from_secs(60)).await, "the recorder did not end");
    Ok(())
}

async fn history(database: &Database, scope: &Scope, actor: Option<&str>) -> Result<Vec<Past>> {
    let mut tx = database.begin(scope).await?;
    Ok(store::list(&mut tx, scope, actor, None, 100).await?)
}

async fn waiting_events(database: &Database) -> Result<i64> {
    let mut tx = database.begin_system().await?;
    Ok(sqlx::query_scalar("select count(*) from outbox").fetch_one(&mut *tx).await?)
}

#[tokio::test]
async fn a_run_is_in_the_history_of_its_tenant_with_its_events() -> Result<()> {
    let database = database().await?;
    let (acme, globex) = (testkit::scope("acme")?, testkit::scope("globex")?);
    let runs = [run_of(&acme), run_of(&globex), run_of(&acme)];
    record(&database, &runs).await?;
    let mut own: Vec<_> = history(&database, &acme, None).await?.into_iter().map(|past| past.id).collect();
    own.reverse();
    assert_eq!(own, [runs[0].id, runs[2].id]);
    assert_eq!(history(&database, &globex, None).await?.len(), 1);
    assert!(history(&database, &acme, Some("user:somebody-else")).await?.is_empty());
    // Each has an audit entry and a lineage event.
    assert_eq!(waiting_events(&database).await?, 6);
    Ok(())
}

#[tokio::test]
async fn the_same_run_is_recorded_once() -> Result<()> {
    let (database, acme) = (database().await?, testkit::scope("acme")?);
    let once = run_of(&acme);
    record(&database, &[once.clone(), once]).await?;
    assert_eq!(history(&database, &acme, None).await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_statement_under_way_at_a_stop_is_recorded() -> Result<()> {
    let (database, acme) = (database().await?, testkit::scope("acme")?);
    let (tasks, _failures) = Tasks::new();
    let recorder = Recorder::start(&tasks, database.clone(), 1, Statements::new(&Metrics::default()));
    let place = recorder.reserve()?;
    assert!(recorder.reserve().is_err(), "there is one place only");
    let stopping = tasks.stopping();
    let stop = tokio::spawn(async move { tasks.drain(Duration::from_secs(60)).await });
    stopping.cancelled().await;
    drop(recorder);
    place.record(run_of(&acme));
    assert!(stop.await?, "the recorder did not end");
    assert_eq!(history(&database, &acme, None).await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn old_runs_are_forgotten_and_young_ones_kept() -> Result<()> {
    let (database, acme) = (database().await?, testkit::scope("acme")?);
    let young = run_of(&acme);
    let old = Run { finished_at: young.finished_at - Duration::from_secs(25 * 3600), ..run_of(&acme) };
    record(&database, &[young.clone(), old]).await?;
    store::retention(1).forget(&database).await?;
    let left: Vec<_> = history(&database, &acme, None).await?.into_iter().map(|past| past.id).collect();
    assert_eq!(left, [young.id]);
    Ok(())
}
