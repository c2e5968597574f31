//! Against a real Postgres, as the service's own role; the bucket is in memory and nothing here
//! calls the catalog.

use std::sync::Arc;

use anyhow::Result;
use kit::fault::{Fault, Kind};
use kit::http::PageRequest;
use kit::placements::Placements;
use kit::tasks::{Failures, Tasks};
use kit::turns::{NoTurn, Turns};
use kit::{Scope, Secret};
use lakehouse::{Bucket, Catalog};
use object_store::memory::InMemory;
use uuid::Uuid;

use crate::config::Settings;
use crate::domain::{Format, State, TransactionKind};
use crate::error::Error;
use crate::jobs;
use crate::ops::{App, commit, datasets, folder, transactions};
use crate::store::{self, FileRow};

async fn app() -> Result<(Arc<App>, Failures)> {
    let (tasks, failures) = Tasks::new();
    let settings = Settings { upload_bytes: 1_000, transaction_files: 2, ..Settings::default() };
    let app = App {
        cell: contracts::CellId::new("here")?,
        database: testkit::database(&sqlx::migrate!()).await?,
        bucket: Bucket::over(Arc::new(InMemory::new()), "warehouse"),
        catalog: Catalog::with_token(reqwest::Client::new(), "http://127.0.0.1:9", Secret::new("none")),
        tasks,
        conversions: Turns::new(settings.places()),
        settings,
    };
    Ok((Arc::new(app), failures))
}

async fn put(app: &Arc<App>, scope: &Scope, id: Uuid, path: &str, bytes: usize) -> Result<(), Error> {
    let body = axum::body::Body::from(vec![b'x'; bytes]);
    transactions::put_file(app, scope, "flights", id, path, Some(Format::Csv), body).await.map(|_| ())
}

async fn objects(app: &App, scope: &Scope) -> Result<usize> {
    use futures::TryStreamExt;
    use object_store::ObjectStore;
    let bucket = app.bucket.tenant(&scope.tenant);
    Ok(bucket.store().list(None).try_collect::<Vec<_>>().await?.len())
}

#[tokio::test]
async fn a_name_is_taken_once_per_tenant() -> Result<()> {
    let (app, _failures) = app().await?;
    let (acme, globex) = (testkit::scope("acme")?, testkit::scope("globex")?);
    let made = datasets::create(&app, &acme, "flights", "").await?;
    assert!(matches!(datasets::create(&app, &acme, "flights", "").await, Err(Error::NameTaken)));
    datasets::create(&app, &globex, "flights", "").await?;
    assert_eq!(datasets::get(&app, &acme, "flights").await?.id, made.id);
    assert_eq!(datasets::get(&app, &acme, &made.id.to_string()).await?.name, "flights");
    let listed = datasets::list(&app, &acme, None, &PageRequest::default()).await?;
    assert_eq!(listed.data.len(), 1);
    Ok(())
}

#[tokio::test]
async fn another_tenants_dataset_is_not_there() -> Result<()> {
    let (app, _failures) = app().await?;
    let (acme, globex) = (testkit::scope("acme")?, testkit::scope("globex")?);
    let made = datasets::create(&app, &acme, "flights", "").await?;
    let (_, transaction) = transactions::open(&app, &acme, "flights", TransactionKind::Snapshot).await?;
    let id = made.id.to_string();
    let absent = |kind: Kind| assert_eq!(kind, Kind::NotFound);
    absent(datasets::get(&app, &globex, &id).await.unwrap_err().kind());
    absent(datasets::delete(&app, &globex, &id).await.unwrap_err().kind());
    absent(transactions::open(&app, &globex, &id, TransactionKind::Append).await.unwrap_err().kind());
    absent(transactions::get(&app, &globex, &id, transaction.id).await.unwrap_err().kind());
    absent(transactions::abort(&app, &globex, &id, transaction.id, "x").await.unwrap_err().kind());
    datasets::create(&app, &globex, "flights", "").await?;
    absent(transactions::get(&app, &globex, "flights", transaction.id).await.unwrap_err().kind());
    absent(put(&app, &globex, transaction.id, "a.csv", 1).await.unwrap_err().kind());
    Ok(())
}

#[tokio::test]
async fn one_transaction_is_open_at_a_time_and_an_abort_leaves_nothing() -> Result<()> {
    let (app, _failures) = app().await?;
    let acme = testkit::scope("acme")?;
    datasets::create(&app, &acme, "flights", "").await?;
    let (_, first) = transactions::open(&app, &acme, "flights", TransactionKind::Snapshot).await?;
    let second = transactions::open(&app, &acme, "flights", TransactionKind::Append).await;
    assert!(matches!(second, Err(Error::TransactionOpen)));
    put(&app, &acme, first.id, "a.csv", 10).await?;
    put(&app, &acme, first.id, "a.csv", 20).await?;
    let (_, _, files) = transactions::get(&app, &acme, "flights", first.id).await?;
    assert_eq!((files.len(), files[0].bytes, objects(&app, &acme).await?), (1, 20, 1));
    for _ in 0..2 {
        let (_, aborted) = transactions::abort(&app, &acme, "flights", first.id, "test").await?;
        assert_eq!(aborted.state, State::Aborted);
    }
    assert_eq!(objects(&app, &acme).await?, 0);
    assert!(matches!(put(&app, &acme, first.id, "b.csv", 1).await, Err(Error::TransactionEnded)));
    transactions::open(&app, &acme, "flights", TransactionKind::Append).await?;
    Ok(())
}

#[tokio::test]
async fn uploads_are_bounded_in_length_and_number_and_a_refused_one_leaves_nothing() -> Result<()> {
    let (app, _failures) = app().await?;
    let acme = testkit::scope("acme")?;
    datasets::create(&app, &acme, "flights", "").await?;
    let (_, open) = transactions::open(&app, &acme, "flights", TransactionKind::Snapshot).await?;
    let long = put(&app, &acme, open.id, "long.csv", 1_001).await;
    assert!(matches!(long, Err(Error::TooLong { limit: 1_000 })), "{long:?}");
    assert_eq!(objects(&app, &acme).await?, 0);
    put(&app, &acme, open.id, "a.csv", 1_000).await?;
    put(&app, &acme, open.id, "b.csv", 1).await?;
    assert!(matches!(put(&app, &acme, open.id, "c.csv", 1).await, Err(Error::TooManyFiles { limit: 2 })));
    put(&app, &acme, open.id, "b.csv", 2).await?;
    Ok(())
}

#[tokio::test]
async fn while_a_commit_is_under_way_or_unsettled_nothing_else_happens() -> Result<()> {
    let (app, _failures) = app().await?;
    let acme = testkit::scope("acme")?;
    datasets::create(&app, &acme, "flights", "").await?;
    let (dataset, open) = transactions::open(&app, &acme, "flights", TransactionKind::Snapshot).await?;
    for until in [time::Duration::seconds(30), time::Duration::seconds(-30)] {
        let mut tx = app.database.begin(&acme).await?;
        store::transactions::lease(&mut tx, &acme, open.id, Some(time::OffsetDateTime::now_utc() + until)).await?;
        tx.commit().await?;
        assert!(matches!(put(&app, &acme, open.id, "a.csv", 1).await, Err(Error::CommitUnderWay)));
        let abort = transactions::abort(&app, &acme, "flights", open.id, "x").await;
        assert!(matches!(abort, Err(Error::CommitUnderWay)));
    }
    let mut tx = app.database.begin_system().await?;
    let stranded = store::transactions::stranded(&mut tx, 10).await?;
    assert_eq!(stranded.iter().map(|chore| (chore.dataset, chore.id)).collect::<Vec<_>>(), [(dataset.id, open.id)]);
    Ok(())
}

#[tokio::test]
async fn an_upload_under_way_never_changes_what_a_commit_reads() -> Result<()> {
    let (app, _failures) = app().await?;
    let acme = testkit::scope("acme")?;
    datasets::create(&app, &acme, "flights", "").await?;
    let (dataset, open) = transactions::open(&app, &acme, "flights", TransactionKind::Snapshot).await?;
    put(&app, &acme, open.id, "a.csv", 10).await?;
    lease(&app, &acme, open.id).await?;
    let late = FileRow::new("a.csv", Some(Format::Csv));
    let body = axum::body::Body::from(vec![b'y'; 20]);
    let refused = transactions::store_file(&app, &acme, dataset.id, open.id, late, body).await;
    assert!(matches!(refused, Err(Error::CommitUnderWay)), "{refused:?}");
    let (_, _, files) = transactions::get(&app, &acme, "flights", open.id).await?;
    let bucket = app.bucket.tenant(&acme.tenant);
    let at = bucket.location(&format!("{}/{}", folder(dataset.id, open.id), files[0].object));
    assert_eq!(bucket.get(&at).await?, vec![b'x'; 10]);
    assert_eq!(objects(&app, &acme).await?, 1, "the refused upload is gone");
    Ok(())
}

async fn lease(app: &App, scope: &Scope, id: Uuid) -> Result<()> {
    let until = time::OffsetDateTime::now_utc() + time::Duration::seconds(30);
    let mut tx = app.database.begin(scope).await?;
    store::transactions::lease(&mut tx, scope, id, Some(until)).await?;
    Ok(tx.commit().await?)
}

#[tokio::test]
async fn a_commit_without_an_answer_cannot_be_aborted_before_it_is_settled() -> Result<()> {
    let (app, _failures) = app().await?;
    let acme = testkit::scope("acme")?;
    datasets::create(&app, &acme, "flights", "").await?;
    let (dataset, open) = transactions::open(&app, &acme, "flights", TransactionKind::Append).await?;
    lease(&app, &acme, open.id).await?;
    let unknown = Error::Lakehouse(lakehouse::Error::CommitUnknown(None));
    commit::give_up(&app, &acme, dataset.id, open.id, &unknown).await;
    let abort = transactions::abort(&app, &acme, "flights", open.id, "x").await;
    assert!(matches!(abort, Err(Error::CommitUnderWay)), "{abort:?}");
    // What is known to have failed may be tried again, with the files still there.
    for error in [Error::Busy(NoTurn::LineFull(1)), Error::Parameter("which format?".into())] {
        commit::give_up(&app, &acme, dataset.id, open.id, &error).await;
        assert_eq!(transactions::get(&app, &acme, "flights", open.id).await?.1.state, State::Open);
    }
    commit::give_up(&app, &acme, dataset.id, open.id, &Error::unreadable("a.csv", "no")).await;
    assert_eq!(transactions::get(&app, &acme, "flights", open.id).await?.1.state, State::Aborted);
    Ok(())
}

#[tokio::test]
async fn reading_and_writing_need_their_scopes() -> Result<()> {
    let (app, _failures) = app().await?;
    let (reader, writer) =
        (testkit::scope_with("acme", "datasets:read")?, testkit::scope_with("acme", "datasets:write")?);
    let refused = datasets::create(&app, &reader, "flights", "").await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Forbidden);
    datasets::create(&app, &writer, "flights", "").await?;
    assert_eq!(datasets::get(&app, &writer, "flights").await.unwrap_err().kind(), Kind::Forbidden);
    Ok(())
}

#[tokio::test]
async fn an_upload_whose_process_died_is_aborted_and_its_name_is_free_again() -> Result<()> {
    let (app, _failures) = app().await?;
    let acme = testkit::scope("acme")?;
    datasets::create(&app, &acme, "flights", "").await?;
    let placements = placed("acme")?;
    let until = time::OffsetDateTime::now_utc() + time::Duration::seconds(30);
    let held = Some(transactions::Hold { until, upload_key: None });
    let (_, alive) = transactions::open_held(&app, &acme, "flights", TransactionKind::Append, held).await?;
    put(&app, &acme, alive.id, "a.csv", 10).await?;
    jobs::round(&app, &placements).await?;
    assert_eq!(transactions::get(&app, &acme, "flights", alive.id).await?.1.state, State::Open);

    hold(&app, &acme, alive.id, -1).await?;
    jobs::round(&app, &placements).await?;
    let (_, ended, _) = transactions::get(&app, &acme, "flights", alive.id).await?;
    assert_eq!(ended.state, State::Aborted);
    assert_eq!(objects(&app, &acme).await?, 0, "what it had uploaded is gone");
    // One that its user opened and means to end is left alone.
    let (_, own) = transactions::open(&app, &acme, "flights", TransactionKind::Append).await?;
    jobs::round(&app, &placements).await?;
    assert_eq!(transactions::get(&app, &acme, "flights", own.id).await?.1.state, State::Open);
    Ok(())
}

async fn hold(app: &App, scope: &Scope, id: Uuid, seconds: i64) -> Result<()> {
    let mut tx = app.database.begin(scope).await?;
    let until = time::OffsetDateTime::now_utc() + time::Duration::seconds(seconds);
    store::transactions::hold(&mut tx, scope, id, until).await?;
    Ok(tx.commit().await?)
}

fn placed(tenant: &str) -> Result<Arc<Placements>> {
    let place = contracts::placements::Place::Here { generation: contracts::Generation(1) };
    let placements = Placements::new(contracts::CellId::new("here")?);
    placements.change(contracts::TenantId::new(tenant)?, place);
    Ok(placements)
}
