//! Moves of tenants between cells.

use axum::extract::{Path, State};
use http::StatusCode;
use kit::fault::Problem;
use kit::http::{Json, Page, PageRequest};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use super::tenants::tenant_id;
use crate::Tenancy;
use crate::domain::access::Caller;
use crate::ops::moves;
use crate::store::moves::Move;

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MoveTo {
    cell: String,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MoveView {
    id: Uuid,
    tenant: String,
    from: String,
    to: String,
    /// `copy`, `close`, `fence`, `settle`, `carry`, `switch`, `clean`, `back`, `done` or `cancelled`.
    step: String,
    /// At which the tenant is entered in its new cell.
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<i64>,
    /// Why the step did not succeed when it was last tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    started_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    changed_at: OffsetDateTime,
    /// How long the tenant's requests had to wait, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    waited_ms: Option<i64>,
}

impl From<Move> for MoveView {
    fn from(one: Move) -> Self {
        let waited = one.closed_at.zip(one.opened_at).map(|(closed, opened)| opened - closed);
        Self {
            id: one.id,
            tenant: one.tenant,
            from: one.source,
            to: one.target,
            step: one.step,
            generation: one.generation,
            problem: one.problem,
            started_at: one.started_at,
            changed_at: one.changed_at,
            waited_ms: waited.map(|waited| i64::try_from(waited.whole_milliseconds()).unwrap_or(i64::MAX)),
        }
    }
}

/// Move a tenant to another cell, while it is in use. The same again answers 200 with the move that is under way.
#[utoipa::path(
    post, path = "/api/v1/tenants/{tenant}/moves", tag = "tenants", params(("tenant" = String, Path)), request_body = MoveTo,
    responses((status = 201, body = MoveView), (status = 200, body = MoveView), (status = 401), (status = 403), (status = 404), (status = 409), (status = 412), (status = 422), (status = 503)),
)]
pub async fn begin(
    State(tenancy): State<Tenancy>,
    caller: Caller,
    Path(tenant): Path<String>,
    Json(body): Json<MoveTo>,
) -> Result<(StatusCode, Json<MoveView>), Problem> {
    let (begun, new) = moves::begin(&tenancy, &caller, &tenant_id(tenant)?, &body.cell).await?;
    Ok((if new { StatusCode::CREATED } else { StatusCode::OK }, Json(begun.into())))
}

/// The tenant's moves, newest first.
#[utoipa::path(
    get, path = "/api/v1/tenants/{tenant}/moves", tag = "tenants", params(("tenant" = String, Path), PageRequest),
    responses((status = 200, body = Page<MoveView>), (status = 401), (status = 404)),
)]
pub async fn list(
    State(tenancy): State<Tenancy>,
    caller: Caller,
    Path(tenant): Path<String>,
    kit::http::Query(page): kit::http::Query<PageRequest>,
) -> Result<Json<Page<MoveView>>, Problem> {
    let size = page.size()?;
    let rows = moves::list(&tenancy, &caller, &tenant_id(tenant)?, page.after()?, size as i64 + 1).await?;
    Ok(Json(Page::of(rows, size, |one| one.id).map(MoveView::from)))
}

/// All moves that are not over, oldest first.
#[utoipa::path(get, path = "/api/v1/moves", tag = "tenants", responses((status = 200, body = Vec<MoveView>), (status = 401), (status = 403)))]
pub async fn under_way(State(tenancy): State<Tenancy>, caller: Caller) -> Result<Json<Vec<MoveView>>, Problem> {
    let moves = moves::under_way(&tenancy, &caller).await?;
    Ok(Json(moves.into_iter().map(MoveView::from).collect()))
}

/// Give the tenant's move up. Possible until its old cell is fenced.
#[utoipa::path(
    delete, path = "/api/v1/tenants/{tenant}/moves", tag = "tenants", params(("tenant" = String, Path)),
    responses((status = 200, body = MoveView), (status = 401), (status = 403), (status = 404), (status = 412), (status = 503)),
)]
pub async fn cancel(
    State(tenancy): State<Tenancy>,
    caller: Caller,
    Path(tenant): Path<String>,
) -> Result<Json<MoveView>, Problem> {
    Ok(Json(moves::cancel(&tenancy, &caller, &tenant_id(tenant)?).await?.into()))
}
