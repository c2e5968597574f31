//! HTTP: what the global plane asks, and what another cell's `tenant-move` takes.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts, Path, RawQuery, State};
use axum::response::Response;
use axum::routing::{get, post, put};
use contracts::services::{GLOBAL, TENANT_MOVE, named_by, spiffe_id};
use contracts::{CellId, Generation, TenantId};
use futures::{Stream, StreamExt, TryStreamExt};
use http::StatusCode;
use http::request::Parts;
use kit::Problem;
use kit::http::{Json, Peer, Query};
use kit::moving::Round;
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
struct Settle {
    round: Round,
}

#[derive(Deserialize)]
struct Wanted {
    path: String,
}

/// The tenant of a request that the global plane makes.
struct Led(TenantId);

/// The tenant of a request of the cell that it is promised to.
struct Taken(TenantId);

fn asked(parts: &Parts) -> Result<&str, Error> {
    parts.extensions.get::<Peer>().map(|peer| &*peer.0).ok_or(Error::NotTheLeader)
}

async fn tenant_of(parts: &mut Parts) -> Result<TenantId, Problem> {
    let named = Path::<HashMap<String, String>>::from_request_parts(parts, &()).await;
    let named = named.ok().and_then(|Path(mut named)| TenantId::new(named.remove("tenant")?).ok());
    Ok(named.ok_or(Error::NoTenant)?)
}

impl<S: Send + Sync> FromRequestParts<S> for Led {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        if asked(parts)? != spiffe_id(GLOBAL, GLOBAL) {
            return Err(Error::NotTheLeader.into());
        }
        tenant_of(parts).await.map(Self)
    }
}

impl FromRequestParts<Arc<Mover>> for Taken {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, mover: &Arc<Mover>) -> Result<Self, Problem> {
        let cell = named_by(asked(parts)?).filter(|(_, service)| *service == TENANT_MOVE);
        let cell = cell.and_then(|(cell, _)| CellId::new(cell).ok()).ok_or(Error::NotPromised)?;
        let tenant = tenant_of(parts).await?;
        mover.promises.check(&tenant, &cell)?;
        Ok(Self(tenant))
    }
}

type Done = Result<StatusCode, Problem>;

async fn promise(State(mover): State<Arc<Mover>>, Led(tenant): Led, Json(promise): Json<Promise>) -> Done {
    mover.promises.give(tenant, promise.to);
    Ok(StatusCode::NO_CONTENT)
}

async fn close(State(mover): State<Arc<Mover>>, Led(tenant): Led) -> Done {
    mover.close(&tenant).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn fence(State(mover): State<Arc<Mover>>, Led(tenant): Led, Query(at): Query<At>) -> Done {
    mover.fence(&tenant, Generation(at.generation)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn settle(State(mover): State<Arc<Mover>>, Led(tenant): Led, Query(settle): Query<Settle>) -> Done {
    mover.settle(&tenant, settle.round).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn clean(State(mover): State<Arc<Mover>>, Led(tenant): Led, Query(at): Query<At>) -> Done {
    let objects = mover.clean(&tenant, Generation(at.generation)).await?;
    tracing::info!(%tenant, cell = %mover.cell, objects, "a tenant's data was taken away");
    Ok(StatusCode::NO_CONTENT)
}

async fn copy(
    State(mover): State<Arc<Mover>>,
    Led(tenant): Led,
    Query(at): Query<At>,
    Json(from): Json<Origin>,
) -> Result<Json<Copied>, Problem> {
    Ok(Json(mover.copy(&tenant, &from, Generation(at.generation)).await?))
}

async fn carry(
    State(mover): State<Arc<Mover>>,
    Led(tenant): Led,
    Query(at): Query<At>,
    Json(from): Json<Origin>,
) -> Result<Json<Copied>, Problem> {
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

async fn objects(State(mover): State<Arc<Mover>>, Taken(tenant): Taken) -> Response {
    let all = list(&mover.folder(&tenant)).map_ok(Line::Object);
    lines(all.chain(futures::stream::once(async { Ok(Line::End) })))
}

async fn object(
    State(mover): State<Arc<Mover>>,
    Taken(tenant): Taken,
    Json(wanted): Json<Wanted>,
) -> Result<Response, Problem> {
    Ok(Response::new(Body::from_stream(mover.object(&tenant, &wanted.path).await?)))
}

async fn rows(
    State(mover): State<Arc<Mover>>,
    Taken(tenant): Taken,
    Path((_, service)): Path<(String, String)>,
    RawQuery(wanted): RawQuery,
) -> Result<Response, Problem> {
    let rows = mover.rows(&tenant, &service, &wanted.unwrap_or_default()).await?;
    Ok(Response::new(Body::from_stream(rows.bytes_stream())))
}
