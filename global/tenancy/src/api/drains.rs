//! Cells that are emptied.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use http::StatusCode;
use kit::fault::Problem;
use kit::http::{Json, Page, PageRequest, Query};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::cells::cell_id;
use crate::Tenancy;
use crate::domain::access::Caller;
use crate::domain::draining::Way;
use crate::error::Error;
use crate::ops::{draining, sharing};
use crate::store::drains::Drain;

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BeginDrain {
    /// `move`: the tenants take along what they have. `route`: the cell is lost, only their routes change.
    way: Way,
    /// Where they go; each where the placement policy says when absent.
    to: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PlanTo {
    /// Where the tenants would go; each where the placement policy says when absent.
    to: Option<String>,
}

/// What a drain would do.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DrainPlan {
    tenants: i64,
    /// What routers bring them now; null where this process hears no router.
    requests_per_second: Option<u64>,
    /// How many of them each cell would get.
    to: BTreeMap<String, i64>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DrainView {
    id: Uuid,
    cell: String,
    way: Way,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    /// `under_way`, `done` or `cancelled`.
    state: &'static str,
    /// When it began.
    tenants: i64,
    /// Still in the cell.
    left: i64,
    /// Why it did not go on when it was last looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    started_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    ended_at: Option<OffsetDateTime>,
}

impl DrainView {
    fn of(drain: Drain, left: i64) -> Result<Self, Error> {
        let state = match (drain.ended_at, drain.cancelled) {
            (None, _) => "under_way",
            (Some(_), false) => "done",
            (Some(_), true) => "cancelled",
        };
        Ok(Self {
            way: drain.way()?,
            id: drain.id,
            cell: drain.cell,
            to: drain.target,
            state,
            tenants: drain.tenants,
            left,
            problem: drain.problem,
            started_at: drain.started_at,
            ended_at: drain.ended_at,
        })
    }
}

/// Empty a cell. The same again answers 200 with the drain that is under way.
#[utoipa::path(
    post, path = "/api/v1/cells/{cell}/drains", tag = "cells", params(("cell" = String, Path)), request_body = BeginDrain,
    responses((status = 201, body = DrainView), (status = 200, body = DrainView), (status = 401), (status = 403), (status = 404), (status = 409), (status = 412), (status = 422), (status = 503)),
)]
pub async fn begin(
    State(tenancy): State<Tenancy>,
    caller: Caller,
    Path(cell): Path<String>,
    Json(body): Json<BeginDrain>,
) -> Result<(StatusCode, Json<DrainView>), Problem> {
    let cell = cell_id(cell)?;
    let (begun, left, new) = draining::begin(&tenancy, &caller, &cell, body.way, body.to.as_deref()).await?;
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(DrainView::of(begun, left)?)))
}

/// What emptying the cell would do.
#[utoipa::path(
    get, path = "/api/v1/cells/{cell}/drains/plan", tag = "cells", params(("cell" = String, Path), PlanTo),
    responses((status = 200, body = DrainPlan), (status = 401), (status = 403), (status = 404), (status = 412), (status = 422)),
)]
pub async fn plan(
    State(tenancy): State<Tenancy>,
    caller: Caller,
    Path(cell): Path<String>,
    Query(plan): Query<PlanTo>,
) -> Result<Json<DrainPlan>, Problem> {
    let cell = cell_id(cell)?;
    let to = draining::plan(&tenancy, &caller, &cell, plan.to.as_deref()).await?;
    let requests_per_second = sharing::load_of(&tenancy, &cell);
    Ok(Json(DrainPlan { tenants: to.values().sum(), requests_per_second, to }))
}

/// The cell's drains, newest first.
#[utoipa::path(
    get, path = "/api/v1/cells/{cell}/drains", tag = "cells", params(("cell" = String, Path), PageRequest),
    responses((status = 200, body = Page<DrainView>), (status = 401), (status = 403), (status = 404)),
)]
pub async fn list(
    State(tenancy): State<Tenancy>,
    caller: Caller,
    Path(cell): Path<String>,
    Query(page): Query<PageRequest>,
) -> Result<Json<Page<DrainView>>, Problem> {
    let size = page.size()?;
    let (rows, left) = draining::list(&tenancy, &caller, &cell_id(cell)?, page.after()?, size as i64 + 1).await?;
    let page = Page::of(rows, size, |drain| drain.id);
    let view = |drain: Drain| DrainView::of(drain, left);
    let data = page.data.into_iter().map(view).collect::<Result<_, _>>()?;
    Ok(Json(Page { data, next_page_token: page.next_page_token }))
}

/// Stop emptying the cell. What was brought away stays there; the cell takes tenants again.
#[utoipa::path(
    delete, path = "/api/v1/cells/{cell}/drains", tag = "cells", params(("cell" = String, Path)),
    responses((status = 200, body = DrainView), (status = 401), (status = 403), (status = 404), (status = 503)),
)]
pub async fn cancel(
    State(tenancy): State<Tenancy>,
    caller: Caller,
    Path(cell): Path<String>,
) -> Result<Json<DrainView>, Problem> {
    let (stopped, left) = draining::cancel(&tenancy, &caller, &cell_id(cell)?).await?;
    Ok(Json(DrainView::of(stopped, left)?))
}
