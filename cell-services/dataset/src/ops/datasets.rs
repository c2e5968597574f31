//! Datasets themselves.

use contracts::claims::scope;
use futures::TryStreamExt;
use kit::Scope;
use kit::http::{Page, PageRequest};
use lakehouse::TenantBucket;
use object_store::{ObjectStore, ObjectStoreExt};
use uuid::Uuid;

use super::{App, table_name};
use crate::domain::name::check_dataset;
use crate::domain::transaction::{Verdict, Wish, decide};
use crate::error::Error;
use crate::store::{self, Dataset};

const LONGEST_DESCRIPTION: usize = 4_000;

pub async fn create(app: &App, scope: &Scope, name: &str, description: &str) -> Result<Dataset, Error> {
    scope.require(scope::DATASETS_WRITE)?;
    check_dataset(name)?;
    if description.len() > LONGEST_DESCRIPTION {
        return Err(Error::Parameter(format!("the description is longer than {LONGEST_DESCRIPTION} bytes")));
    }
    let mut tx = app.database.begin(scope).await?;
    let dataset = store::datasets::insert(&mut tx, scope, Uuid::now_v7(), name, description).await?;
    tx.commit().await?;
    Ok(dataset)
}

pub async fn get(app: &App, scope: &Scope, reference: &str) -> Result<Dataset, Error> {
    scope.require(scope::DATASETS_READ)?;
    find(app, scope, reference).await
}

/// Without an own check of scopes: for use cases that have made theirs.
pub async fn find(app: &App, scope: &Scope, reference: &str) -> Result<Dataset, Error> {
    let mut tx = app.database.begin(scope).await?;
    let found = store::datasets::find(&mut tx, scope, reference).await?;
    tx.commit().await?;
    found.ok_or(Error::NoDataset)
}

pub async fn list(app: &App, scope: &Scope, name: Option<&str>, page: &PageRequest) -> Result<Page<Dataset>, Error> {
    scope.require(scope::DATASETS_READ)?;
    let (size, after) = (page.size()?, page.after::<String>()?);
    let mut tx = app.database.begin(scope).await?;
    let rows = store::datasets::list(&mut tx, scope, name, after.as_deref(), size + 1).await?;
    tx.commit().await?;
    Ok(Page::of(rows, size, |dataset| dataset.name.clone()))
}

/// Deletes a dataset with its table and its uploads. Repeating a delete that failed half-way
/// finishes it: the row goes last.
pub async fn delete(app: &App, scope: &Scope, reference: &str) -> Result<(), Error> {
    scope.require(scope::DATASETS_WRITE)?;
    let dataset = find(app, scope, reference).await?;
    let mut tx = app.database.begin(scope).await?;
    let dataset = store::datasets::lock(&mut tx, scope, dataset.id).await?;
    for newest in store::transactions::list(&mut tx, scope, dataset.id, None, 1).await? {
        // Locked, so that no commit of it begins while the table is being dropped.
        let transaction = store::transactions::lock(&mut tx, scope, dataset.id, newest.id).await?;
        let now = time::OffsetDateTime::now_utc();
        if decide(transaction.state, Wish::Abort, transaction.busy_until, now) == Verdict::Busy {
            return Err(Error::CommitUnderWay);
        }
    }
    match app.catalog.drop_table(scope, &table_name(&dataset.name)?, true).await {
        Ok(()) => {}
        Err(error) if error.is_not_found() => {}
        Err(error) => return Err(error.into()),
    }
    store::datasets::delete(&mut tx, scope, dataset.id).await?;
    tx.commit().await?;
    remove_objects(&app.bucket.tenant(&scope.tenant), &format!("datasets/{}", dataset.id)).await
}

/// Deletes every object below `folder`.
pub async fn remove_objects(bucket: &TenantBucket, folder: &str) -> Result<(), Error> {
    let prefix = bucket.path_of(&bucket.location(folder))?;
    let failed = |source| lakehouse::Error::Store { action: "delete", path: prefix.to_string(), source };
    let objects: Vec<_> =
        bucket.store().list(Some(&prefix)).map_ok(|object| object.location).try_collect().await.map_err(failed)?;
    for object in objects {
        match bucket.store().delete(&object).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(source) => return Err(failed(source).into()),
        }
    }
    Ok(())
}
