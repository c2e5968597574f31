//! What routers and cells follow and report.

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use contracts::CellId;
use contracts::bundle::{CellReport, SignedBundle};
use contracts::services::{ROUTER, spiffe_id};
use contracts::shares::{Report, Shares};
use http::{HeaderValue, StatusCode, header};
use kit::fault::Problem;
use kit::http::{Json, Peer, Query};
use serde::Deserialize;

use crate::Tenancy;
use crate::error::Error;
use crate::ops::feed::{Audience, feed};
use crate::ops::{cells, contracts as bundles, sharing};

#[derive(Deserialize)]
pub struct Since {
    since: Option<u64>,
}

#[derive(Deserialize)]
pub struct Version {
    version: Option<u32>,
}

/// Everything, for a router.
pub async fn routing(
    State(tenancy): State<Tenancy>,
    Extension(peer): Extension<Peer>,
    Query(query): Query<Since>,
) -> Result<Response, Problem> {
    must_be_a_router(&peer)?;
    follow(&tenancy, Audience::Router, query.since).await
}

/// What a router may use of each tenant's limit.
pub async fn shares(
    State(tenancy): State<Tenancy>,
    Extension(peer): Extension<Peer>,
    Json(report): Json<Report>,
) -> Result<Json<Shares>, Problem> {
    must_be_a_router(&peer)?;
    Ok(Json(sharing::report(&tenancy, &report)?))
}

fn must_be_a_router(peer: &Peer) -> Result<(), Error> {
    if *peer.0 == *spiffe_id(ROUTER, ROUTER) { Ok(()) } else { Err(Error::NotARouter) }
}

/// What concerns a cell, for any service of that cell.
pub async fn placements(
    State(tenancy): State<Tenancy>,
    Extension(peer): Extension<Peer>,
    Path(cell): Path<String>,
    Query(query): Query<Since>,
) -> Result<Response, Problem> {
    let cell = CellId::new(cell).map_err(|_| Error::NotTheCell)?;
    if !cells::is_of(&peer.0, &cell) {
        return Err(Error::NotTheCell.into());
    }
    follow(&tenancy, Audience::Cell(cell), query.since).await
}

async fn follow(tenancy: &Tenancy, audience: Audience, since: Option<u64>) -> Result<Response, Problem> {
    let lines = feed(tenancy, audience, since).await?;
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
