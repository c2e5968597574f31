//! Opening, filling and aborting transactions.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::BodyDataStream;
use bytes::Bytes;
use contracts::claims::scope;
use futures::{Stream, StreamExt};
use kit::Scope;
use kit::http::{Page, PageRequest};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{App, datasets, folder};
use crate::domain::name::check_file;
use crate::domain::transaction::{Verdict, Wish, decide};
use crate::domain::{Format, TransactionKind};
use crate::error::Error;
use crate::store::{self, Dataset, FileRow, Transaction};

pub async fn open(
    app: &App,
    scope: &Scope,
    reference: &str,
    kind: TransactionKind,
) -> Result<(Dataset, Transaction), Error> {
    open_held(app, scope, reference, kind, None).await
}

/// How a call holds the transaction that it opens and will end.
#[derive(Debug, Clone, Copy)]
pub struct Hold<'a> {
    /// Not renewed by then, the transaction is aborted.
    pub until: OffsetDateTime,
    pub upload_key: Option<&'a str>,
}

pub async fn open_held(
    app: &App,
    scope: &Scope,
    reference: &str,
    kind: TransactionKind,
    hold: Option<Hold<'_>>,
) -> Result<(Dataset, Transaction), Error> {
    scope.require(scope::DATASETS_WRITE)?;
    let dataset = datasets::find(app, scope, reference).await?;
    let mut tx = app.database.begin(scope).await?;
    let key = hold.and_then(|hold| hold.upload_key);
    let transaction = store::transactions::open(&mut tx, scope, dataset.id, Uuid::now_v7(), kind, key).await?;
    if let Some(hold) = hold {
        store::transactions::hold(&mut tx, scope, transaction.id, hold.until).await?;
    }
    tx.commit().await?;
    Ok((dataset, transaction))
}

pub async fn get(
    app: &App,
    scope: &Scope,
    reference: &str,
    id: Uuid,
) -> Result<(Dataset, Transaction, Vec<FileRow>), Error> {
    scope.require(scope::DATASETS_READ)?;
    get_own(app, scope, reference, id).await
}

/// For whoever has just written it and need not be allowed to read others.
pub async fn get_own(
    app: &App,
    scope: &Scope,
    reference: &str,
    id: Uuid,
) -> Result<(Dataset, Transaction, Vec<FileRow>), Error> {
    let dataset = datasets::find(app, scope, reference).await?;
    let mut tx = app.database.begin(scope).await?;
    let transaction = store::transactions::find(&mut tx, scope, dataset.id, id).await?;
    let files = store::transactions::files(&mut tx, scope, id).await?;
    tx.commit().await?;
    Ok((dataset, transaction, files))
}

pub async fn list(
    app: &App,
    scope: &Scope,
    reference: &str,
    page: &PageRequest,
) -> Result<(Dataset, Page<Transaction>), Error> {
    scope.require(scope::DATASETS_READ)?;
    let (size, before) = (page.size()?, page.after::<Uuid>()?);
    let dataset = datasets::find(app, scope, reference).await?;
    let mut tx = app.database.begin(scope).await?;
    let rows = store::transactions::list(&mut tx, scope, dataset.id, before, size + 1).await?;
    tx.commit().await?;
    Ok((dataset, Page::of(rows, size, |transaction| transaction.id)))
}

/// Committed transactions, newest version first.
pub async fn versions(
    app: &App,
    scope: &Scope,
    reference: &str,
    page: &PageRequest,
) -> Result<Page<Transaction>, Error> {
    scope.require(scope::DATASETS_READ)?;
    let (size, before) = (page.size()?, page.after::<u64>()?);
    let dataset = datasets::find(app, scope, reference).await?;
    let mut tx = app.database.begin(scope).await?;
    let rows = store::transactions::versions(&mut tx, scope, dataset.id, before, size + 1).await?;
    tx.commit().await?;
    Ok(Page::of(rows, size, |transaction| transaction.version))
}

/// Streams a body into the bucket as one of the transaction's files.
pub async fn put_file(
    app: &Arc<App>,
    scope: &Scope,
    reference: &str,
    id: Uuid,
    path: &str,
    format: Option<Format>,
    body: axum::body::Body,
) -> Result<FileRow, Error> {
    scope.require(scope::DATASETS_WRITE)?;
    check_file(path)?;
    let dataset = datasets::find(app, scope, reference).await?;
    check_open(app, scope, dataset.id, id, path).await?;
    let file = FileRow::new(path, format);
    let (shared, scope) = (Arc::clone(app), scope.clone());
    app.detached("dataset upload", async move { store_file(&shared, &scope, dataset.id, id, file, body).await }).await
}

async fn check_open(app: &App, scope: &Scope, dataset: Uuid, id: Uuid, path: &str) -> Result<(), Error> {
    let mut tx = app.database.begin(scope).await?;
    let transaction = store::transactions::find(&mut tx, scope, dataset, id).await?;
    allow(&transaction, Wish::AddFile)?;
    let files = store::transactions::files(&mut tx, scope, id).await?;
    tx.commit().await?;
    check_room(&files, path, app.settings.transaction_files)
}

fn check_room(files: &[FileRow], path: &str, limit: usize) -> Result<(), Error> {
    match files.len() >= limit && files.iter().all(|file| file.path != path) {
        true => Err(Error::TooManyFiles { limit }),
        false => Ok(()),
    }
}

/// Refuses a wish that the transaction's state does not allow. `true`: it came true before.
pub fn allow(transaction: &Transaction, wish: Wish) -> Result<bool, Error> {
    match decide(transaction.state, wish, transaction.busy_until, OffsetDateTime::now_utc()) {
        Verdict::Proceed => Ok(false),
        Verdict::Done => Ok(true),
        Verdict::Busy => Err(Error::CommitUnderWay),
        Verdict::Ended => Err(Error::TransactionEnded),
    }
}

/// Uploads, then notes the file if the transaction is still open.
pub async fn store_file(
    app: &App,
    scope: &Scope,
    dataset: Uuid,
    id: Uuid,
    mut file: FileRow,
    body: axum::body::Body,
) -> Result<FileRow, Error> {
    let limit = app.settings.upload_bytes;
    let bucket = app.bucket.tenant(&scope.tenant);
    let location = |object: &str| bucket.location(&format!("{}/{object}", folder(dataset, id)));
    file.bytes = bucket.upload(&location(&file.object), bounded(body, limit)).await.map_err(|error| match error {
        lakehouse::Error::Input(source) if source.is::<TooLong>() => Error::TooLong { limit },
        lakehouse::Error::Input(_) => Error::BrokenOff,
        other => other.into(),
    })?;
    let noted = note_file(app, scope, dataset, id, &file).await;
    let worthless = match &noted {
        Ok(replaced) => replaced.as_deref(),
        // Without an answer the file may have been noted.
        Err(Error::Database(_)) => None,
        Err(_) => Some(file.object.as_str()),
    };
    if let Some(object) = worthless
        && let Err(error) = bucket.delete(&location(object)).await
    {
        tracing::warn!(transaction = %id, error = %kit::fault::chain(&error), "a file nobody needs is swept later");
    }
    noted.map(|_| file)
}

/// Returns the object the file takes the place of, if there was one of its path.
async fn note_file(app: &App, scope: &Scope, dataset: Uuid, id: Uuid, file: &FileRow) -> Result<Option<String>, Error> {
    let mut tx = app.database.begin(scope).await?;
    let transaction = store::transactions::lock(&mut tx, scope, dataset, id).await?;
    allow(&transaction, Wish::AddFile)?;
    let files = store::transactions::files(&mut tx, scope, id).await?;
    check_room(&files, &file.path, app.settings.transaction_files)?;
    store::transactions::put_file(&mut tx, scope, id, file).await?;
    tx.commit().await?;
    Ok(files.into_iter().find(|old| old.path == file.path).map(|old| old.object))
}

/// Aborts a transaction and removes its files. Aborting twice is aborting once.
pub async fn abort(
    app: &App,
    scope: &Scope,
    reference: &str,
    id: Uuid,
    reason: &str,
) -> Result<(Dataset, Transaction), Error> {
    scope.require(scope::DATASETS_WRITE)?;
    let dataset = datasets::find(app, scope, reference).await?;
    let mut tx = app.database.begin(scope).await?;
    let transaction = store::transactions::lock(&mut tx, scope, dataset.id, id).await?;
    if !allow(&transaction, Wish::Abort)? {
        store::transactions::abort(&mut tx, scope, id, reason).await?;
    }
    let transaction = store::transactions::find(&mut tx, scope, dataset.id, id).await?;
    tx.commit().await?;
    sweep(app, scope, dataset.id, id).await;
    Ok((dataset, transaction))
}

/// Removes the files of an ended transaction; what fails now is done by the job.
pub async fn sweep(app: &App, scope: &Scope, dataset: Uuid, id: Uuid) {
    if let Err(error) = try_sweep(app, scope, dataset, id).await {
        tracing::warn!(transaction = %id, error = %kit::fault::chain(&error), "uploaded files are swept later");
    }
}

pub async fn try_sweep(app: &App, scope: &Scope, dataset: Uuid, id: Uuid) -> Result<(), Error> {
    datasets::remove_objects(&app.bucket.tenant(&scope.tenant), &folder(dataset, id)).await?;
    let mut tx = app.database.begin(scope).await?;
    store::transactions::swept(&mut tx, scope, id).await?;
    Ok(tx.commit().await?)
}

/// The body's bytes; fails with [`TooLong`] beyond `limit` of them.
pub fn bounded(body: axum::body::Body, limit: u64) -> Bounded {
    Bounded { body: body.into_data_stream(), left: limit }
}

/// A body that fails once it is longer than allowed.
pub struct Bounded {
    body: BodyDataStream,
    left: u64,
}

#[derive(Debug, thiserror::Error)]
#[error("the body is too long")]
pub struct TooLong;

impl Stream for Bounded {
    type Item = Result<Bytes, Box<dyn std::error::Error + Send + Sync>>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Poll::Ready(next) = self.body.poll_next_unpin(context) else { return Poll::Pending };
        Poll::Ready(next.map(|chunk| {
            let chunk = chunk?;
            self.left = self.left.checked_sub(chunk.len() as u64).ok_or(TooLong)?;
            Ok(chunk)
        }))
    }
}
