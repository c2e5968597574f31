//! Groups of routers.

use axum::extract::{Path, State};
use contracts::GroupId;
use http::StatusCode;
use kit::fault::Problem;
use kit::http::{Json, Page};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::tenants::tenant_id;
use crate::Tenancy;
use crate::domain::access::Caller;
use crate::error::Error;
use crate::ops::groups;
use crate::store::groups::Group;

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PutGroup {
    /// IP addresses of its routers, or of what stands before them; at most 16.
    #[schema(example = json!(["192.0.2.10"]))]
    addresses: Vec<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GroupView {
    id: String,
    addresses: Vec<String>,
}

impl From<Group> for GroupView {
    fn from(Group { id, addresses }: Group) -> Self {
        Self { id, addresses }
    }
}

fn group_id(text: String) -> Result<GroupId, Error> {
    GroupId::new(text).map_err(|_| Error::NotFound("group of routers"))
}

fn page(groups: Vec<Group>) -> Json<Page<GroupView>> {
    Json(Page { data: groups.into_iter().map(GroupView::from).collect(), next_page_token: None })
}

/// Make a group of routers or change its addresses. A new one takes its share of the tenants, and no others move.
#[utoipa::path(
    put, path = "/api/v1/router-groups/{group}", tag = "router groups", params(("group" = String, Path)), request_body = PutGroup,
    responses((status = 200, body = GroupView), (status = 401), (status = 403), (status = 404), (status = 412), (status = 422), (status = 503)),
)]
pub async fn put(
    State(tenancy): State<Tenancy>,
    caller: Caller,
    Path(group): Path<String>,
    Json(body): Json<PutGroup>,
) -> Result<Json<GroupView>, Problem> {
    let id = group_id(group)?;
    groups::put(&tenancy, &caller, &id, &body.addresses).await?;
    Ok(Json(GroupView { id: id.to_string(), addresses: body.addresses }))
}

/// All groups of routers.
#[utoipa::path(get, path = "/api/v1/router-groups", tag = "router groups", responses((status = 200, body = Page<GroupView>), (status = 401), (status = 403)))]
pub async fn list(State(tenancy): State<Tenancy>, caller: Caller) -> Result<Json<Page<GroupView>>, Problem> {
    Ok(page(groups::list(&tenancy, &caller).await?))
}

/// Remove a group of routers. Its tenants are served by others.
#[utoipa::path(delete, path = "/api/v1/router-groups/{group}", tag = "router groups", params(("group" = String, Path)), responses((status = 204), (status = 401), (status = 403), (status = 404), (status = 503)))]
pub async fn remove(
    State(tenancy): State<Tenancy>,
    caller: Caller,
    Path(group): Path<String>,
) -> Result<StatusCode, Problem> {
    groups::remove(&tenancy, &caller, &group_id(group)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The groups of routers that serve a tenant: where its hosts are to lead. None: any router does.
#[utoipa::path(
    get, path = "/api/v1/tenants/{tenant}/router-groups", tag = "router groups", params(("tenant" = String, Path)),
    responses((status = 200, body = Page<GroupView>), (status = 401), (status = 404)),
)]
pub async fn of_tenant(
    State(tenancy): State<Tenancy>,
    caller: Caller,
    Path(tenant): Path<String>,
) -> Result<Json<Page<GroupView>>, Problem> {
    Ok(page(groups::of_tenant(&tenancy, &caller, &tenant_id(tenant)?).await?))
}
