//! Cells.

use axum::extract::{Path, State};
use contracts::CellId;
use http::StatusCode;
use kit::fault::Problem;
use kit::http::{Json, Page, PageRequest, Query};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::Tenancy;
use crate::domain::access::Caller;
use crate::domain::placement::{CellKind, CellState};
use crate::error::Error;
use crate::ops::cells::{self, Registration};
use crate::store::cells::CellStatus;

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PutCell {
    /// `ip:port` or `name:port` of the gateway.
    #[schema(example = "127.0.2.1:8080")]
    http: String,
    /// `ip:port` or `name:port` of the SQL edge.
    #[schema(example = "127.0.2.1:50133")]
    flight: String,
    /// `ip:port` or `name:port` of the cell's own door: TLS of its tenants' own domains, of which the routers have no
    /// certificate, is passed on to it. As it is when absent; none when empty.
    door: Option<String>,
    kind: CellKind,
    /// Owner of a dedicated cell; its first tenant decides when absent.
    organisation: Option<String>,
    /// As it is when absent; `serving` for a new cell. One that is `requested` serves once it has reported that it is
    /// as the contracts say.
    state: Option<CellState>,
    /// Tenants it takes at most; 0 = no limit, as for a new cell. As it is when absent.
    capacity: Option<u32>,
    /// As it is when absent.
    region: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateCell {
    id: CellId,
    http: String,
    flight: String,
    /// `ip:port` or `name:port` of the cell's own door.
    door: Option<String>,
    kind: CellKind,
    organisation: Option<String>,
    state: Option<CellState>,
    /// Tenants it takes at most; 0 = no limit.
    capacity: Option<u32>,
    region: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContractsView {
    version: i32,
    sha256: String,
    /// Differences between the contracts and the cell's brokers; empty when there is none.
    drift: Vec<String>,
    #[serde(with = "time::serde::rfc3339")]
    reported_at: OffsetDateTime,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CellView {
    id: String,
    http: String,
    flight: String,
    /// Where TLS of its tenants' own domains ends, if not at the routers.
    door: Option<String>,
    kind: CellKind,
    organisation: Option<String>,
    state: CellState,
    /// Tenants it takes at most; 0 = no limit.
    capacity: i64,
    region: Option<String>,
    /// Tenants that the caller may see.
    tenants: i64,
    /// Null until the cell has reported.
    contracts: Option<ContractsView>,
}

impl TryFrom<CellStatus> for CellView {
    type Error = Error;
    fn try_from(status: CellStatus) -> Result<Self, Error> {
        let report = status.contracts_version.zip(status.contracts_sha256).zip(status.drift.zip(status.reported_at));
        let contracts = report.map(|((version, sha256), (drift, reported_at))| ContractsView {
            version,
            sha256,
            drift,
            reported_at,
        });
        Ok(Self {
            kind: status.cell.kind()?,
            state: status.cell.state()?,
            id: status.cell.id,
            http: status.cell.http,
            flight: status.cell.flight,
            door: status.cell.door,
            organisation: status.cell.organisation,
            capacity: status.cell.capacity,
            region: status.cell.region,
            tenants: status.tenants,
            contracts,
        })
    }
}

pub(super) fn cell_id(text: String) -> Result<CellId, Error> {
    CellId::new(text).map_err(|_| Error::NotFound("cell"))
}

/// Register a cell.
#[utoipa::path(
    post, path = "/api/v1/cells", tag = "cells", request_body = CreateCell,
    responses((status = 201, body = CellView), (status = 401), (status = 403), (status = 409), (status = 422), (status = 503)),
)]
pub async fn create(
    State(tenancy): State<Tenancy>,
    caller: Caller,
    Json(body): Json<CreateCell>,
) -> Result<(StatusCode, Json<CellView>), Problem> {
    let CreateCell { id, http, flight, door, kind, organisation, state, capacity, region } = body;
    let new = Registration { http, flight, door, kind, organisation, state, capacity, region };
    let status = cells::put(&tenancy, &caller, &id, &new, true).await?;
    Ok((StatusCode::CREATED, Json(status.try_into()?)))
}

/// Register a cell or change it; saying the same again changes nothing.
#[utoipa::path(
    put, path = "/api/v1/cells/{cell}", tag = "cells", params(("cell" = String, Path)), request_body = PutCell,
    responses((status = 200, body = CellView), (status = 401), (status = 403), (status = 404), (status = 409), (status = 412), (status = 422), (status = 503)),
)]
pub async fn put(
    State(tenancy): State<Tenancy>,
    caller: Caller,
    Path(cell): Path<String>,
    Json(body): Json<PutCell>,
) -> Result<Json<CellView>, Problem> {
    let PutCell { http, flight, door, kind, organisation, state, capacity, region } = body;
    let new = Registration { http, flight, door, kind, organisation, state, capacity, region };
    Ok(Json(cells::put(&tenancy, &caller, &cell_id(cell)?, &new, false).await?.try_into()?))
}

#[utoipa::path(get, path = "/api/v1/cells", tag = "cells", params(PageRequest), responses((status = 200, body = Page<CellView>), (status = 401), (status = 403)))]
pub async fn list(
    State(tenancy): State<Tenancy>,
    caller: Caller,
    Query(page): Query<PageRequest>,
) -> Result<Json<Page<CellView>>, Problem> {
    let (size, after) = (page.size()?, page.after::<String>()?);
    let rows = cells::list(&tenancy, &caller, after.as_deref(), size as i64 + 1).await?;
    let page = Page::of(rows, size, |status| status.cell.id.clone());
    let data = page.data.into_iter().map(CellView::try_from).collect::<Result<_, _>>()?;
    Ok(Json(Page { data, next_page_token: page.next_page_token }))
}

#[utoipa::path(get, path = "/api/v1/cells/{cell}", tag = "cells", params(("cell" = String, Path)), responses((status = 200, body = CellView), (status = 401), (status = 404)))]
pub async fn get(
    State(tenancy): State<Tenancy>,
    caller: Caller,
    Path(cell): Path<String>,
) -> Result<Json<CellView>, Problem> {
    Ok(Json(cells::find(&tenancy, &caller, &cell).await?.try_into()?))
}

/// Remove a cell without tenants.
#[utoipa::path(delete, path = "/api/v1/cells/{cell}", tag = "cells", params(("cell" = String, Path)), responses((status = 204), (status = 401), (status = 403), (status = 404), (status = 412), (status = 503)))]
pub async fn remove(
    State(tenancy): State<Tenancy>,
    caller: Caller,
    Path(cell): Path<String>,
) -> Result<StatusCode, Problem> {
    cells::remove(&tenancy, &caller, &cell_id(cell)?).await?;
    Ok(StatusCode::NO_CONTENT)
}
