//! Showing sinks.

use contracts::claims::scope::SINKS_READ;
use kit::Scope;
use kit::database::Database;
use kit::http::{Page, PageRequest};
use uuid::Uuid;

use crate::error::Error;
use crate::store::{self, SinkRow};

pub async fn list(database: &Database, scope: &Scope, page: &PageRequest) -> Result<Page<SinkRow>, Error> {
    scope.require(SINKS_READ)?;
    let (size, after) = (page.size()?, page.after::<(String, Uuid)>()?);
    let limit = i64::try_from(size + 1).unwrap_or(i64::MAX);
    let mut tx = database.begin(scope).await?;
    let rows = store::list_sinks(&mut tx, scope, after, limit).await?;
    tx.commit().await?;
    Ok(Page::of(rows, size, |sink| (sink.name.clone(), sink.stream)))
}

pub async fn get(database: &Database, scope: &Scope, reference: &str) -> Result<SinkRow, Error> {
    scope.require(SINKS_READ)?;
    let mut tx = database.begin(scope).await?;
    let found = store::find_sink(&mut tx, scope, reference).await?;
    tx.commit().await?;
    found.ok_or(Error::NoSink)
}
