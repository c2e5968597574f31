//! The kit's database against a real Postgres: rows stay with their tenant, older generations are
//! fenced, events leave with their transaction or not at all.

#![allow(clippy::unwrap_used, reason = "a test's own steps may panic")]

mod moving;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Result;
use contracts::events::TABLE_COMMITTED;
use contracts::{Generation, TenantId};
use kit::Scope;
use kit::database::{Database, DatabaseError};
use kit::fault::{Fault, Kind};
use kit::outbox::{BusKind, Outgoing, PublishError, Publisher};
use kit::tasks::Tasks;
use uuid::Uuid;

async fn database() -> Result<Database> {
    testkit::database(&sqlx::migrate!("tests/database/migrations")).await
}

fn at(tenant: &str, generation: u64) -> Result<Scope> {
    Ok(Scope::of_service("tester", TenantId::new(tenant)?, Generation(generation)))
}

async fn add(database: &Database, scope: &Scope, owner: &str, name: &str) -> Result<(), DatabaseError> {
    let mut tx = database.begin(scope).await?;
    sqlx::query("insert into thing values ($1, $2)").bind(owner).bind(name).execute(&mut *tx).await?;
    tx.commit().await
}

async fn count(tx: &mut sqlx::PgConnection) -> Result<i64> {
    Ok(sqlx::query_scalar("select count(*) from thing").fetch_one(tx).await?)
}

#[tokio::test]
async fn a_tenant_sees_and_writes_its_own_rows_only() -> Result<()> {
    let database = database().await?;
    add(&database, &at("acme", 1)?, "acme", "one").await?;
    add(&database, &at("globex", 1)?, "globex", "two").await?;
    let refused = add(&database, &at("acme", 1)?, "globex", "smuggled").await.unwrap_err();
    assert_eq!(refused.sql_state().as_deref(), Some("42501"), "{refused:?}");
    let mut tx = database.begin(&at("acme", 1)?).await?;
    assert_eq!(count(&mut tx).await?, 1);
    drop(tx);
    let mut all = database.begin_system().await?;
    assert_eq!(count(&mut all).await?, 2);
    drop(all);
    let mut bare = database.pool().acquire().await?;
    assert_eq!(count(&mut bare).await?, 0, "without a scope no row is seen");
    Ok(())
}

/// 53100 is a full disk, 53200 no memory, 53300 no connection: the caller may come again. The server raises
/// them itself here, so the error is the one its protocol carries.
#[tokio::test]
async fn a_server_out_of_resources_is_unavailable_and_not_broken() -> Result<()> {
    let database = database().await?;
    for (state, kind) in [
        ("53100", Kind::Unavailable),
        ("53200", Kind::Unavailable),
        ("53300", Kind::Unavailable),
        ("22012", Kind::Internal),
    ] {
        let mut tx = database.begin_system().await?;
        let statement = format!("do $$ begin raise exception 'on purpose' using errcode = '{state}'; end $$");
        let refused = sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut *tx).await.unwrap_err();
        assert_eq!(DatabaseError::from(refused).kind(), kind, "{state}");
    }
    Ok(())
}

#[tokio::test]
async fn an_older_generation_is_fenced_inside_the_transaction() -> Result<()> {
    let database = database().await?;
    add(&database, &at("acme", 5)?, "acme", "new").await?;
    let refused = add(&database, &at("acme", 4)?, "acme", "stale").await.unwrap_err();
    assert_eq!((refused.kind(), refused.generation_required()), (Kind::Misdirected, Some(Generation(5))));
    add(&database, &at("globex", 1)?, "globex", "unaffected").await?;
    add(&database, &at("acme", 6)?, "acme", "newer").await?;
    assert!(add(&database, &at("acme", 5)?, "acme", "late").await.is_err());
    Ok(())
}

/// A transaction of `database` waits for another one's lock.
async fn somebody_waits(database: &Database) -> Result<()> {
    testkit::eventually("a transaction waits", || async {
        let waiting: i64 = sqlx::query_scalar(
            "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
        )
        .fetch_one(database.pool())
        .await?;
        anyhow::ensure!(waiting > 0, "nobody waits");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_older_generation_is_fenced_by_a_newer_one_that_comes_at_the_same_moment() -> Result<()> {
    let database = database().await?;
    let mut newer = database.begin(&at("acme", 6)?).await?;
    sqlx::query("insert into thing values ('acme', 'new')").execute(&mut *newer).await?;
    // The tenant's first two transactions in this database: the older one cannot see the newer yet.
    let late = tokio::spawn({
        let (database, scope) = (database.clone(), at("acme", 5)?);
        async move { add(&database, &scope, "acme", "stale").await }
    });
    somebody_waits(&database).await?;
    newer.commit().await?;
    let refused = late.await?.unwrap_err();
    assert_eq!(refused.generation_required(), Some(Generation(6)), "{refused:?}");
    Ok(())
}

#[tokio::test]
async fn transactions_that_meet_a_new_generation_together_do_not_wait_for_each_other_for_ever() -> Result<()> {
    let database = database().await?;
    for generation in 1..=30 {
        let scope = at("acme", generation)?;
        let begun = futures::future::join_all((0..4).map(|_| async {
            let tx = database.begin(&scope).await?;
            tx.commit().await
        }));
        for outcome in begun.await {
            outcome?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn an_event_is_handled_once_per_consumer() -> Result<()> {
    let database = database().await?;
    let id = Uuid::now_v7();
    for (consumer, first) in [("a", true), ("a", false), ("b", true)] {
        let mut tx = database.begin_system().await?;
        assert_eq!(kit::inbox::first_time(&mut tx, consumer, id).await?, first);
        tx.commit().await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_was_handled_long_ago_is_forgotten_and_nothing_else() -> Result<()> {
    let database = database().await?;
    let (old, new) = (Uuid::now_v7(), Uuid::now_v7());
    let mut tx = database.begin_system().await?;
    for id in [old, new] {
        assert!(kit::inbox::first_time(&mut tx, "sweep", id).await?);
    }
    let aged = "update inbox set handled_at = now() - interval '2 days' where event_id = $1";
    sqlx::query(aged).bind(old).execute(&mut *tx).await?;
    tx.commit().await?;
    let retention = kit::retention::Retention { kept: Duration::from_secs(24 * 3600), ..kit::inbox::RETENTION };
    retention.forget(&database).await?;
    kit::retention::Retention { kept: Duration::MAX, ..retention }.forget(&database).await?;
    let mut tx = database.begin_system().await?;
    assert!(kit::inbox::first_time(&mut tx, "sweep", old).await?, "the old event is forgotten");
    assert!(!kit::inbox::first_time(&mut tx, "sweep", new).await?, "the new one is not");
    Ok(tx.commit().await?)
}

/// Takes events, but fails the first time: the bus was away.
#[derive(Default)]
struct Flaky {
    calls: Mutex<u32>,
    taken: Mutex<Vec<Outgoing>>,
}

#[async_trait::async_trait]
impl Publisher for Flaky {
    fn bus(&self) -> BusKind {
        BusKind::Control
    }

    async fn publish(&self, batch: &[Outgoing]) -> Result<(), PublishError> {
        let mut calls = self.calls.lock().unwrap();
        *calls += 1;
        if *calls == 1 {
            return Err(PublishError("away".into()));
        }
        self.taken.lock().unwrap().extend_from_slice(batch);
        Ok(())
    }
}

async fn say(database: &Database, id: Uuid, commit: bool) -> Result<()> {
    let scope = at("acme", 1)?;
    let mut tx = database.begin(&scope).await?;
    kit::outbox::put(&mut tx, &scope, TABLE_COMMITTED, "flights", id, &serde_json::json!({"x": 1})).await?;
    if commit {
        tx.commit().await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_event_that_no_bus_would_take_does_not_enter_the_outbox() -> Result<()> {
    let (database, scope) = (database().await?, at("acme", 1)?);
    let mut tx = database.begin(&scope).await?;
    let endless = serde_json::json!({ "x": "x".repeat(1_000_000) });
    let refused = kit::outbox::put(&mut tx, &scope, TABLE_COMMITTED, "flights", Uuid::now_v7(), &endless).await;
    assert!(matches!(refused, Err(DatabaseError::EventTooLarge { .. })), "{refused:?}");
    Ok(())
}

#[tokio::test]
async fn events_leave_with_their_transaction_and_survive_an_absent_bus() -> Result<()> {
    let database = database().await?;
    let (lost, kept) = (Uuid::now_v7(), Uuid::now_v7());
    say(&database, lost, false).await?;
    say(&database, kept, true).await?;
    let (tasks, _failures) = Tasks::new();
    let bus = Arc::new(Flaky::default());
    kit::outbox::relay(&tasks, database.clone(), bus.clone(), kit::metrics::Seconds::default());
    testkit::eventually("the outbox is empty", || async {
        let mut tx = database.begin_system().await?;
        let left: i64 = sqlx::query_scalar("select count(*) from outbox").fetch_one(&mut *tx).await?;
        anyhow::ensure!(left == 0, "{left} events are left");
        Ok(())
    })
    .await?;
    assert!(tasks.drain(Duration::from_secs(60)).await);
    let taken = bus.taken.lock().unwrap();
    let ids: Vec<Uuid> = taken.iter().map(|o| o.event_id).collect();
    assert_eq!(ids, [kept], "the event of the rolled-back transaction must not leave");
    assert_eq!(taken[0].key, "acme/flights");
    Ok(())
}
