//! What routers and cells follow and report.

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use contracts::CellId;
use contracts::bundle::{CellReport, SignedBundle};
use http::{HeaderValue, StatusCode, header};
use kit::fault::Problem;
use kit::http::{Json, Peer, Query};
use serde::Deserialize;

use crate::Tenancy;
use crate::error::Error;
use crate::ops::{cells, contracts as bundles, routing as feed};

#[derive(Deserialize)]
pub struct Since {
    since: Option<u64>,
}

#[derive(Deserialize)]
pub struct Version {
    version: Option<u32>,
}

pub async fn routing(State(tenancy): State<Tenancy>, Query(query): Query<Since>) -> Result<Response, Problem> {
    let lines = feed::feed(&tenancy, query.since).await?;
    let mut response = Response::new(Body::from_stream(lines));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    Ok(response)
}

pub async fn bundle(
    State(tenancy): State<Tenancy>,
    Query(query): Query<Version>,
) -> Result<Json<SignedBundle>, Problem> {
    Ok(Json(bundles::signed(&tenancy, query.version).await?))
}

pub async fn report(
    State(tenancy): State<Tenancy>,
    Extension(peer): Extension<Peer>,
    Path(cell): Path<String>,
    Json(body): Json<CellReport>,
) -> Result<StatusCode, Problem> {
    let cell = CellId::new(cell).map_err(|_| Error::NotFound("cell"))?;
    cells::report(&tenancy, &peer.0, &cell, &body).await?;
    Ok(StatusCode::NO_CONTENT)
}
