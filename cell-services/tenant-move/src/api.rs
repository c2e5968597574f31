//! HTTP: what the global plane asks, and what another cell's `tenant-move` takes.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{get, post, put};
use axum::{Extension, Router};
use contracts::services::{GLOBAL, TENANT_MOVE, spiffe_id};
use contracts::{CellId, Generation, TenantId};
use futures::{Stream, StreamExt, TryStreamExt};
use http::StatusCode;
use kit::Problem;
use kit::http::{Json, Peer, Query};
use serde::Deserialize;

use crate::error::Error;
use crate::ops::Mover;
use crate::ops::objects::{Line, list};
use crate::ops::take::{Copied, Origin};

/// Nothing of it is a client's.
pub fn describe() -> utoipa::openapi::OpenApi {
    utoipa::openapi::OpenApi::default()
}

pub fn router(mover: Arc<Mover>) -> Router {
    Router::new()
        .route("/internal/v1/moves/{tenant}/promise", put(promise))
        .route("/internal/v1/moves/{tenant}/close", post(close))
        .route("/internal/v1/moves/{tenant}/fence", post(fence))
        .route("/internal/v1/moves/{tenant}/settle", post(settle))
        .route("/internal/v1/moves/{tenant}/clean", post(clean))
        .route("/internal/v1/moves/{tenant}/copy", post(copy))
        .route("/internal/v1/moves/{tenant}/carry", post(carry))
        .route("/internal/v1/moves/{tenant}/objects", get(objects))
        .route("/internal/v1/moves/{tenant}/object", post(object))
        .route("/internal/v1/moves/{tenant}/rows/{service}", get(rows))
        .with_state(mover)
}

#[derive(Deserialize)]
struct Promise {
    to: CellId,
}

#[derive(Deserialize)]
struct At {
    generation: u64,
}

#[derive(Deserialize)]
struct Wanted {
    path: String,
}

fn led(peer: &Peer) -> Result<(), Error> {
    if *peer.0 == *spiffe_id(GLOBAL, GLOBAL) { Ok(()) } else { Err(Error::NotTheLeader) }
}

/// The cell whose `tenant-move` asks.
fn taker(peer: &Peer) -> Result<CellId, Error> {
    let cell = peer.0.strip_prefix("spiffe://cytoplane/").and_then(|rest| rest.strip_suffix(TENANT_MOVE));
    let cell = cell.and_then(|rest| rest.strip_suffix('/')).and_then(|cell| CellId::new(cell).ok());
    cell.ok_or(Error::NotPromised)
}

async fn promise(
    State(mover): State<Arc<Mover>>,
    Extension(peer): Extension<Peer>,
    Path(tenant): Path<TenantId>,
    Json(promise): Json<Promise>,
) -> Result<StatusCode, Problem> {
    led(&peer)?;
    mover.promises.give(tenant, promise.to);
    Ok(StatusCode::NO_CONTENT)
}

async fn close(
    State(mover): State<Arc<Mover>>,
    Extension(peer): Extension<Peer>,
    Path(tenant): Path<TenantId>,
) -> Result<StatusCode, Problem> {
    led(&peer)?;
    mover.close(&tenant).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn fence(
    State(mover): State<Arc<Mover>>,
    Extension(peer): Extension<Peer>,
    Path(tenant): Path<TenantId>,
    Query(at): Query<At>,
) -> Result<StatusCode, Problem> {
    led(&peer)?;
    mover.fence(&tenant, Generation(at.generation)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn settle(
    State(mover): State<Arc<Mover>>,
    Extension(peer): Extension<Peer>,
    Path(tenant): Path<TenantId>,
) -> Result<StatusCode, Problem> {
    led(&peer)?;
    mover.settle(&tenant).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn clean(
    State(mover): State<Arc<Mover>>,
    Extension(peer): Extension<Peer>,
    Path(tenant): Path<TenantId>,
    Query(at): Query<At>,
) -> Result<StatusCode, Problem> {
    led(&peer)?;
    let objects = mover.clean(&tenant, Generation(at.generation)).await?;
    tracing::info!(%tenant, cell = %mover.cell, objects, "a tenant's data was taken away");
    Ok(StatusCode::NO_CONTENT)
}

async fn copy(
    State(mover): State<Arc<Mover>>,
    Extension(peer): Extension<Peer>,
    Path(tenant): Path<TenantId>,
    Json(from): Json<Origin>,
) -> Result<Json<Copied>, Problem> {
    led(&peer)?;
    Ok(Json(mover.copy(&tenant, &from).await?))
}

async fn carry(
    State(mover): State<Arc<Mover>>,
    Extension(peer): Extension<Peer>,
    Path(tenant): Path<TenantId>,
    Query(at): Query<At>,
    Json(from): Json<Origin>,
) -> Result<Json<Copied>, Problem> {
    led(&peer)?;
    Ok(Json(mover.carry(&tenant, &from, Generation(at.generation)).await?))
}

fn lines(all: impl Stream<Item = Result<Line, Error>> + Send + 'static) -> Response {
    let text = all.map_ok(|line| {
        let mut text = serde_json::to_vec(&line).unwrap_or_default();
        text.push(b'\n');
        bytes::Bytes::from(text)
    });
    Response::new(Body::from_stream(text))
}

async fn objects(
    State(mover): State<Arc<Mover>>,
    Extension(peer): Extension<Peer>,
    Path(tenant): Path<TenantId>,
) -> Result<Response, Problem> {
    mover.promises.check(&tenant, &taker(&peer)?)?;
    let all = list(&mover.folder(&tenant)).map_ok(Line::Object);
    Ok(lines(all.chain(futures::stream::once(async { Ok(Line::End) }))))
}

async fn object(
    State(mover): State<Arc<Mover>>,
    Extension(peer): Extension<Peer>,
    Path(tenant): Path<TenantId>,
    Json(wanted): Json<Wanted>,
) -> Result<Response, Problem> {
    mover.promises.check(&tenant, &taker(&peer)?)?;
    Ok(Response::new(Body::from_stream(mover.object(&tenant, &wanted.path).await?)))
}

async fn rows(
    State(mover): State<Arc<Mover>>,
    Extension(peer): Extension<Peer>,
    Path((tenant, service)): Path<(TenantId, String)>,
) -> Result<Response, Problem> {
    mover.promises.check(&tenant, &taker(&peer)?)?;
    Ok(Response::new(Body::from_stream(mover.rows(&tenant, &service).await?.bytes_stream())))
}
