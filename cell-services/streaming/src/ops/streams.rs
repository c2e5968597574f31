//! Streams and their schemas.

use contracts::claims::scope::{STREAMS_READ, STREAMS_WRITE};
use contracts::envelope::event_id;
use contracts::events::{STREAM_CHANGED, StreamChanged};
use kit::database::Tx;
use kit::http::{Page, PageRequest};
use kit::{Scope, outbox};
use uuid::Uuid;

use super::App;
use crate::domain::{Field, Schema, check_stream_name};
use crate::error::Error;
use crate::store::{self, SchemaRow, StreamRow};

pub async fn create(app: &App, scope: &Scope, name: &str, fields: Vec<Field>) -> Result<StreamRow, Error> {
    scope.require(STREAMS_WRITE)?;
    check_stream_name(name).map_err(Error::Schema)?;
    let schema = Schema::new(fields).map_err(Error::Schema)?;
    let id = Uuid::now_v7();
    let mut tx = app.database.begin(scope).await?;
    store::insert_stream(&mut tx, scope, id, name, schema.fields())
        .await
        .map_err(|e| if e.is_unique_violation() { Error::NameTaken } else { e.into() })?;
    let stream = store::find_stream(&mut tx, scope, &id.to_string(), false).await?.ok_or(Error::NoStream)?;
    tell(app, &mut tx, scope, &stream, "stream.create", 201).await?;
    tx.commit().await?;
    Ok(stream)
}

pub async fn get(app: &App, scope: &Scope, reference: &str) -> Result<StreamRow, Error> {
    scope.require(STREAMS_READ)?;
    find(app, scope, reference).await
}

/// Without an own check of scopes: for use cases that have made theirs.
pub(super) async fn find(app: &App, scope: &Scope, reference: &str) -> Result<StreamRow, Error> {
    let mut tx = app.database.begin(scope).await?;
    let found = store::find_stream(&mut tx, scope, reference, false).await?;
    tx.commit().await?;
    found.ok_or(Error::NoStream)
}

pub async fn list(app: &App, scope: &Scope, page: &PageRequest) -> Result<Page<StreamRow>, Error> {
    scope.require(STREAMS_READ)?;
    let (size, after) = (page.size()?, page.after::<String>()?);
    let limit = i64::try_from(size + 1).unwrap_or(i64::MAX);
    let mut tx = app.database.begin(scope).await?;
    let rows = store::list_streams(&mut tx, scope, after.as_deref(), limit).await?;
    tx.commit().await?;
    Ok(Page::of(rows, size, |stream| stream.name.clone()))
}

/// The stream ends; its table and the rows in it stay.
pub async fn delete(app: &App, scope: &Scope, reference: &str) -> Result<(), Error> {
    scope.require(STREAMS_WRITE)?;
    let mut tx = app.database.begin(scope).await?;
    let stream = locked(&mut tx, scope, reference).await?;
    store::delete_stream(&mut tx, scope, stream.id).await?;
    let gone = store::find_stream(&mut tx, scope, &stream.id.to_string(), true).await?.ok_or(Error::NoStream)?;
    tell(app, &mut tx, scope, &gone, "stream.delete", 204).await?;
    tx.commit().await?;
    Ok(())
}

/// Adds fields: a new schema version, or the current one if nothing is new.
pub async fn grow(app: &App, scope: &Scope, reference: &str, fields: Vec<Field>) -> Result<StreamRow, Error> {
    scope.require(STREAMS_WRITE)?;
    let mut tx = app.database.begin(scope).await?;
    let stream = locked(&mut tx, scope, reference).await?;
    let current = Schema::new(stream.fields.clone()).map_err(Error::Schema)?;
    let next = current.grown(fields).map_err(Error::Incompatible)?;
    if next == current {
        return Ok(stream);
    }
    let version = stream.schema_version + 1;
    store::insert_schema(&mut tx, scope, stream.id, version, next.fields()).await?;
    store::set_schema_version(&mut tx, scope, stream.id, version).await?;
    let grown = store::find_stream(&mut tx, scope, &stream.id.to_string(), false).await?.ok_or(Error::NoStream)?;
    tell(app, &mut tx, scope, &grown, "stream.alter", 200).await?;
    tx.commit().await?;
    Ok(grown)
}

/// Every version there ever was; of a deleted stream too, by its id, because rows of it may
/// still be on the bus.
pub async fn schemas(app: &App, scope: &Scope, reference: &str) -> Result<(StreamRow, Vec<SchemaRow>), Error> {
    scope.require(STREAMS_READ)?;
    let mut tx = app.database.begin(scope).await?;
    let stream = store::find_stream(&mut tx, scope, reference, true).await?.ok_or(Error::NoStream)?;
    let versions = store::schemas(&mut tx, scope, stream.id).await?;
    tx.commit().await?;
    Ok((stream, versions))
}

async fn locked(tx: &mut Tx, scope: &Scope, reference: &str) -> Result<StreamRow, Error> {
    let found = store::find_stream(tx, scope, reference, false).await?.ok_or(Error::NoStream)?;
    store::lock_stream(tx, scope, found.id).await?;
    // Somebody may have changed it before we held the lock.
    store::find_stream(tx, scope, &found.id.to_string(), false).await?.ok_or(Error::NoStream)
}

async fn tell(
    app: &App,
    tx: &mut Tx,
    scope: &Scope,
    stream: &StreamRow,
    action: &str,
    status: u16,
) -> Result<(), Error> {
    let changed = StreamChanged {
        stream: stream.id,
        name: stream.name.clone(),
        schema_version: stream.schema_version.unsigned_abs(),
        deleted: stream.deleted,
    };
    let id = event_id(&stream.id, stream.revision.unsigned_abs(), STREAM_CHANGED);
    outbox::put(tx, scope, STREAM_CHANGED, &stream.id.to_string(), id, &changed).await?;
    app.audit(tx, scope, action, stream.id, status).await?;
    Ok(())
}
