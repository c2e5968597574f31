//! Committing: files become rows of the table in one Iceberg snapshot, then the transaction is
//! marked and announced.
//!
//! The snapshot names its transaction, so a commit whose process died between the catalog and
//! Postgres is finished, not repeated. Postgres only keeps others away while one is under way.

use std::sync::Arc;
use std::time::Duration;

use contracts::claims::scope;
use futures::StreamExt;
use iceberg::spec::{DataFile, SnapshotRef};
use kit::Scope;
use lakehouse::write::{TableWriter, WriteOptions};
use lakehouse::{LoadedTable, TenantBucket};
use uuid::Uuid;

use super::lease::{self, Lease};
use super::table::{self, Target};
use super::{App, datasets, folder, table_name, transactions};
use crate::config::Settings;
use crate::domain::column::{self, ColumnsError};
use crate::domain::transaction::Wish;
use crate::domain::{Column, Format, TransactionKind};
use crate::error::Error;
use crate::intake::{self, Dialect, Shape, Source};
use crate::store::transactions::CommitResult;
use crate::store::{self, Dataset, FileRow, Transaction};
use crate::{events, ops};

/// How the files are to be read.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// For files whose own format is not known.
    pub format: Option<Format>,
    pub dialect: Dialect,
    /// Declared columns; inferred when absent.
    pub columns: Option<Vec<Column>>,
}

/// Commits a transaction. A transaction committed before is answered as it is.
pub async fn commit(
    app: &Arc<App>,
    scope: &Scope,
    reference: &str,
    id: Uuid,
    reading: Reading,
) -> Result<(Dataset, Transaction, Vec<FileRow>), Error> {
    scope.require(scope::DATASETS_WRITE)?;
    if let Some(columns) = &reading.columns {
        check(columns, app.settings.columns)?;
    }
    let dataset = datasets::find(app, scope, reference).await?;
    let (shared, caller, of) = (Arc::clone(app), scope.clone(), dataset.id);
    app.detached("dataset commit", async move { run(&shared, &caller, of, id, &reading).await }).await?;
    transactions::get_own(app, scope, &dataset.id.to_string(), id).await
}

fn check(columns: &[Column], most: usize) -> Result<(), Error> {
    let refused = |source: ColumnsError| Error::Columns { file: "schema".to_owned(), source };
    column::check_names(columns.iter().map(|c| c.name.as_str()), most).map_err(refused)
}

/// The commit itself, to its end. An input that cannot be read aborts the transaction.
pub async fn run(app: &App, scope: &Scope, dataset: Uuid, id: Uuid, reading: &Reading) -> Result<(), Error> {
    let Some((dataset, transaction, files)) = begin(app, scope, dataset, id).await? else { return Ok(()) };
    let work = convert(app, scope, &dataset, &transaction, &files, reading);
    let outcome = lease::renewed(app, scope, id, Lease::Commit, work).await;
    match outcome {
        Ok(done) => {
            let bytes = files.iter().map(|file| file.bytes).sum();
            finish(app, scope, &transaction, &done, bytes).await?;
            transactions::sweep(app, scope, dataset.id, id).await;
            Ok(())
        }
        Err(error) => {
            give_up(app, scope, dataset.id, id, &error).await;
            Err(error)
        }
    }
}

/// Takes the lease; `None` if the transaction is committed already.
async fn begin(
    app: &App,
    scope: &Scope,
    dataset: Uuid,
    id: Uuid,
) -> Result<Option<(Dataset, Transaction, Vec<FileRow>)>, Error> {
    let mut tx = app.database.begin(scope).await?;
    let dataset = store::datasets::find(&mut tx, scope, &dataset.to_string()).await?.ok_or(Error::NoDataset)?;
    let transaction = store::transactions::lock(&mut tx, scope, dataset.id, id).await?;
    if transactions::allow(&transaction, Wish::Commit)? {
        return Ok(None);
    }
    let files = store::transactions::files(&mut tx, scope, id).await?;
    if files.is_empty() {
        return Err(Error::Empty);
    }
    store::transactions::lease(&mut tx, scope, id, Some(lease::term())).await?;
    tx.commit().await?;
    Ok(Some((dataset, transaction, files)))
}

/// A fault of the input ends the transaction; any other leaves it open for another try. While its
/// rows may be in the table already, the lease stays: the job finds out once it has run out.
pub(crate) async fn give_up(app: &App, scope: &Scope, dataset: Uuid, id: Uuid, error: &Error) {
    if error.is_unsettled() {
        tracing::warn!(transaction = %id, "whether the commit happened is found out later");
        return;
    }
    let ended = async {
        let mut tx = app.database.begin(scope).await?;
        if error.is_inputs() {
            store::transactions::abort(&mut tx, scope, id, &error.to_string()).await?;
        } else {
            store::transactions::lease(&mut tx, scope, id, None).await?;
        }
        tx.commit().await.map_err(Error::from)
    };
    match ended.await {
        Ok(()) if error.is_inputs() => transactions::sweep(app, scope, dataset, id).await,
        Ok(()) => {}
        Err(error) => {
            tracing::warn!(transaction = %id, error = %kit::fault::chain(&error), "the lease of a failed commit runs out by itself")
        }
    }
}

/// What is in the table once the snapshot is there.
struct Done {
    table: LoadedTable,
    snapshot: SnapshotRef,
}

async fn convert(
    app: &App,
    scope: &Scope,
    dataset: &Dataset,
    transaction: &Transaction,
    files: &[FileRow],
    reading: &Reading,
) -> Result<Done, Error> {
    let name = table_name(&dataset.name)?;
    let found = table::existing(app, scope, &name).await?;
    if let Some(table) = &found
        && let Some(snapshot) = table::committed_by(&table.metadata, transaction.id)
    {
        return Ok(Done { table: table.clone(), snapshot });
    }
    let wait = Duration::from_secs(app.settings.conversion_wait_seconds);
    let _turn = app.conversions.take(&scope.tenant, wait).await?;
    let bucket = app.bucket.tenant(&scope.tenant);
    let sources = sources(&bucket, dataset.id, transaction.id, files, reading)?;
    let shape = shape(app, found.as_ref(), transaction.kind, &sources, reading).await?;
    let target = table::prepare(app, scope, &name, found, transaction.kind, &shape.arrow()).await?;
    let committed = async {
        let written = write(app, &target, &sources, &shape, &reading.dialect).await?;
        target.commit(app, scope, &bucket, transaction.id, transaction.kind, written).await
    };
    match committed.await {
        Ok((table, snapshot)) => Ok(Done { table, snapshot }),
        Err(error) => {
            // Whether a commit without an answer happened is not known: keep the table.
            if !error.is_unsettled() {
                target.undo(app, scope).await;
            }
            Err(error)
        }
    }
}

fn sources(
    bucket: &TenantBucket,
    dataset: Uuid,
    id: Uuid,
    files: &[FileRow],
    reading: &Reading,
) -> Result<Vec<Source>, Error> {
    let source = |file: &FileRow| {
        let format = file.format.or(reading.format).or_else(|| Format::of_path(&file.path)).ok_or_else(|| {
            Error::Parameter(format!("the format of {} is not known: give format=csv, ndjson or parquet", file.path))
        })?;
        let object = bucket.path_of(&bucket.location(&format!("{}/{}", folder(dataset, id), file.object)))?;
        Ok(Source { bucket: bucket.clone(), object, bytes: file.bytes, name: file.path.clone(), format })
    };
    files.iter().map(source).collect()
}

/// The columns the transaction's rows have: declared, the table's, or those of the first file.
async fn shape(
    app: &App,
    found: Option<&LoadedTable>,
    kind: TransactionKind,
    sources: &[Source],
    reading: &Reading,
) -> Result<Shape, Error> {
    let first = sources.first().ok_or(Error::Empty)?;
    let parquet = first.format == Format::Parquet;
    if sources.iter().any(|source| (source.format == Format::Parquet) != parquet) {
        return Err(Error::Parameter("the files of one transaction are all text or all Parquet".to_owned()));
    }
    if parquet {
        return intake::infer(first, &reading.dialect, &app.settings).await;
    }
    if let Some(columns) = &reading.columns {
        return Ok(Shape::Columns(columns.clone()));
    }
    let filled = found.filter(|table| table.metadata.current_snapshot_id().is_some());
    match filled {
        Some(table) if kind == TransactionKind::Append => {
            let columns = column::of_table(table.metadata.current_schema())
                .map_err(|name| Error::Schema(format!("column '{name}' cannot be filled from text; append Parquet")))?;
            Ok(Shape::Columns(columns))
        }
        _ => intake::infer(first, &reading.dialect, &app.settings).await,
    }
}

/// Writes all rows as data files that belong to no snapshot yet; on an error none stays behind.
///
/// Decoding and encoding are pure computation for seconds on end, so they get a thread of their own
/// and never hold up the ones that answer requests.
async fn write(
    app: &App,
    target: &Target,
    sources: &[Source],
    shape: &Shape,
    dialect: &Dialect,
) -> Result<Vec<DataFile>, Error> {
    let columns = match shape {
        Shape::Columns(columns) => columns.clone(),
        Shape::Arrow(_) => Vec::new(),
    };
    let Some(first) = sources.first() else { return Err(Error::Empty) };
    let writer = TableWriter::new(&first.bucket, &target.table.metadata, WriteOptions::default())?;
    let (sources, dialect, settings) = (sources.to_vec(), dialect.clone(), app.settings.clone());
    let runtime = tokio::runtime::Handle::current();
    let work = move || runtime.block_on(write_all(writer, &sources, &columns, &dialect, &settings));
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::Stopping)?
}

async fn write_all(
    mut writer: TableWriter,
    sources: &[Source],
    columns: &[Column],
    dialect: &Dialect,
    settings: &Settings,
) -> Result<Vec<DataFile>, Error> {
    match fill(&mut writer, sources, columns, dialect, settings).await {
        Ok(()) => Ok(writer.finish().await?.files),
        Err(error) => {
            writer.abandon().await;
            Err(error)
        }
    }
}

async fn fill(
    writer: &mut TableWriter,
    sources: &[Source],
    columns: &[Column],
    dialect: &Dialect,
    settings: &Settings,
) -> Result<(), Error> {
    for source in sources {
        let mut rows = intake::rows(source, columns, dialect, settings).await?;
        while let Some(batch) = rows.next().await {
            writer.write(&batch?).await?;
        }
    }
    Ok(())
}

/// Marks and announces the commit, in one database transaction.
async fn finish(app: &App, scope: &Scope, transaction: &Transaction, done: &Done, bytes: u64) -> Result<(), Error> {
    let mut tx = app.database.begin(scope).await?;
    let mut dataset = store::datasets::lock(&mut tx, scope, transaction.dataset).await?;
    let current = store::transactions::lock(&mut tx, scope, dataset.id, transaction.id).await?;
    if current.version.is_some() {
        return Ok(());
    }
    dataset.version += 1;
    dataset.rows = table::counted(&done.snapshot, "total-records");
    dataset.snapshot_id = Some(done.snapshot.snapshot_id());
    let schema = done.snapshot.schema(&done.table.metadata).map_err(|error| Error::Lakehouse(error.into()))?;
    dataset.columns = column::view(&schema);
    let result = CommitResult {
        version: dataset.version,
        rows: table::counted(&done.snapshot, "added-records"),
        total_rows: dataset.rows,
        bytes,
        snapshot_id: done.snapshot.snapshot_id(),
        columns: dataset.columns.clone(),
    };
    store::datasets::advance(&mut tx, scope, &dataset).await?;
    store::transactions::commit(&mut tx, scope, transaction.id, &result).await?;
    let facts = events::Facts {
        bucket: app.bucket.name(),
        dataset: &dataset,
        transaction,
        result: &result,
        namespace: ops::NAMESPACE,
    };
    events::committed(&mut tx, scope, &facts).await?;
    Ok(tx.commit().await?)
}
