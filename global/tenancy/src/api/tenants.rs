//! Tenants, their hosts and placements.

use axum::extract::{Path, State};
use contracts::{TenantId, TierId};
use http::StatusCode;
use kit::fault::Problem;
use kit::http::{Json, Page, PageRequest, Query};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};

use crate::Tenancy;
use crate::domain::access::Caller;
use crate::error::Error;
use crate::ops::tenants::{self, Birth};
use crate::store::tenants::Tenant;

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateTenant {
    id: TenantId,
    organisation: String,
    /// Placed by policy when absent: the organisation's dedicated cell, else the emptiest shared one.
    cell: Option<String>,
    /// `standard` when absent; only the platform's administrators name one.
    tier: Option<TierId>,
    /// Where its cell must be, now and when it moves; anywhere when absent.
    region: Option<String>,
    /// A word of the organisation's own: no two of its tenants with the same are ever in one cell.
    apart: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AddHost {
    #[schema(example = "data.acme.example")]
    host: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SetTier {
    tier: TierId,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Place {
    /// The cell the tenant is in.
    cell: String,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TenantView {
    id: String,
    organisation: String,
    /// The tenant's own host.
    host: String,
    hosts: Vec<String>,
    cell: String,
    generation: i64,
    tier: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    apart: Option<String>,
    /// Always `active`: removed tenants are not shown.
    state: String,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
}

impl TryFrom<Tenant> for TenantView {
    type Error = Error;
    fn try_from(tenant: Tenant) -> Result<Self, Error> {
        Ok(Self {
            host: tenant.hosts.first().cloned().ok_or(Error::Broken("an active tenant has no host"))?,
            cell: tenant.cell.ok_or(Error::Broken("an active tenant has no cell"))?,
            id: tenant.id,
            organisation: tenant.organisation,
            hosts: tenant.hosts,
            generation: tenant.generation,
            region: tenant.region,
            apart: tenant.apart,
            tier: tenant.tier.unwrap_or_else(|| TierId::default().to_string()),
            state: tenant.state,
            created_at: tenant.created_at,
        })
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlacementView {
    cell: String,
    generation: i64,
    #[serde(with = "time::serde::rfc3339")]
    placed_at: OffsetDateTime,
}

#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    organisation: Option<String>,
    page_size: Option<u32>,
    page_token: Option<String>,
}

pub(super) fn tenant_id(text: String) -> Result<TenantId, Error> {
    TenantId::new(text).map_err(|_| Error::NotFound("tenant"))
}

/// Create and place a tenant. The same again answers 200 with what is there.
#[utoipa::path(
    post, path = "/api/v1/tenants", tag = "tenants", request_body = CreateTenant,
    responses((status = 201, body = TenantView), (status = 200, body = TenantView), (status = 401), (status = 403), (status = 409), (status = 412), (status = 422), (status = 503)),
)]
pub async fn create(
    State(tenancy): State<Tenancy>,
    caller: Caller,
    Json(body): Json<CreateTenant>,
) -> Result<(StatusCode, Json<TenantView>), Problem> {
    let CreateTenant { id, organisation, cell, tier, region, apart } = &body;
    let (cell, region, apart, tier) = (cell.as_deref(), region.as_deref(), apart.as_deref(), tier.as_ref());
    let birth = Birth { organisation, cell, region, apart, tier };
    let (tenant, new) = tenants::create(&tenancy, &caller, id, birth).await?;
    Ok((if new { StatusCode::CREATED } else { StatusCode::OK }, Json(tenant.try_into()?)))
}

#[utoipa::path(get, path = "/api/v1/tenants", tag = "tenants", params(ListQuery), responses((status = 200, body = Page<TenantView>), (status = 401)))]
pub async fn list(
    State(tenancy): State<Tenancy>,
    caller: Caller,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<TenantView>>, Problem> {
    let page = PageRequest { page_size: query.page_size, page_token: query.page_token };
    let (size, after) = (page.size()?, page.after::<String>()?);
    let organisation = query.organisation.as_deref();
    let rows = tenants::list(&tenancy, &caller, organisation, after.as_deref(), size as i64 + 1).await?;
    let page = Page::of(rows, size, |t| t.id.clone());
    let data = page.data.into_iter().map(TenantView::try_from).collect::<Result<_, _>>()?;
    Ok(Json(Page { data, next_page_token: page.next_page_token }))
}

#[utoipa::path(get, path = "/api/v1/tenants/{tenant}", tag = "tenants", params(("tenant" = String, Path)), responses((status = 200, body = TenantView), (status = 401), (status = 404)))]
pub async fn get(
    State(tenancy): State<Tenancy>,
    caller: Caller,
    Path(tenant): Path<String>,
) -> Result<Json<TenantView>, Problem> {
    Ok(Json(tenants::find(&tenancy, &caller, &tenant_id(tenant)?).await?.try_into()?))
}

/// Remove a tenant from the platform. Its id is never free again.
#[utoipa::path(delete, path = "/api/v1/tenants/{tenant}", tag = "tenants", params(("tenant" = String, Path)), responses((status = 204), (status = 401), (status = 404), (status = 503)))]
pub async fn remove(
    State(tenancy): State<Tenancy>,
    caller: Caller,
    Path(tenant): Path<String>,
) -> Result<StatusCode, Problem> {
    tenants::remove(&tenancy, &caller, &tenant_id(tenant)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Give a tenant one more host.
///
/// `*.` before it stands for any one label; whoever holds an exact name comes first.
#[utoipa::path(
    post, path = "/api/v1/tenants/{tenant}/hosts", tag = "tenants", params(("tenant" = String, Path)), request_body = AddHost,
    responses((status = 200, body = TenantView), (status = 401), (status = 404), (status = 409), (status = 412), (status = 422), (status = 503)),
)]
pub async fn add_host(
    State(tenancy): State<Tenancy>,
    caller: Caller,
    Path(tenant): Path<String>,
    Json(body): Json<AddHost>,
) -> Result<Json<TenantView>, Problem> {
    Ok(Json(tenants::add_host(&tenancy, &caller, &tenant_id(tenant)?, &body.host).await?.try_into()?))
}

#[utoipa::path(
    delete, path = "/api/v1/tenants/{tenant}/hosts/{host}", tag = "tenants", params(("tenant" = String, Path), ("host" = String, Path)),
    responses((status = 200, body = TenantView), (status = 401), (status = 404), (status = 422), (status = 503)),
)]
pub async fn remove_host(
    State(tenancy): State<Tenancy>,
    caller: Caller,
    Path((tenant, host)): Path<(String, String)>,
) -> Result<Json<TenantView>, Problem> {
    Ok(Json(tenants::remove_host(&tenancy, &caller, &tenant_id(tenant)?, &host).await?.try_into()?))
}

/// Give the tenant a new generation in its cell: requests that carry an older one are refused.
#[utoipa::path(
    post, path = "/api/v1/tenants/{tenant}/placements", tag = "tenants", params(("tenant" = String, Path)), request_body = Place,
    responses((status = 201, body = TenantView), (status = 401), (status = 404), (status = 412), (status = 503)),
)]
pub async fn place(
    State(tenancy): State<Tenancy>,
    caller: Caller,
    Path(tenant): Path<String>,
    Json(body): Json<Place>,
) -> Result<(StatusCode, Json<TenantView>), Problem> {
    let tenant = tenants::place(&tenancy, &caller, &tenant_id(tenant)?, &body.cell).await?;
    Ok((StatusCode::CREATED, Json(tenant.try_into()?)))
}

/// Give the tenant another tier. What is under way goes on.
#[utoipa::path(
    put, path = "/api/v1/tenants/{tenant}/tier", tag = "tenants", params(("tenant" = String, Path)), request_body = SetTier,
    responses((status = 200, body = TenantView), (status = 401), (status = 403), (status = 404), (status = 422), (status = 503)),
)]
pub async fn set_tier(
    State(tenancy): State<Tenancy>,
    caller: Caller,
    Path(tenant): Path<String>,
    Json(body): Json<SetTier>,
) -> Result<Json<TenantView>, Problem> {
    Ok(Json(tenants::set_tier(&tenancy, &caller, &tenant_id(tenant)?, &body.tier).await?.try_into()?))
}

/// Where the tenant has been, newest first.
#[utoipa::path(
    get, path = "/api/v1/tenants/{tenant}/placements", tag = "tenants", params(("tenant" = String, Path), PageRequest),
    responses((status = 200, body = Page<PlacementView>), (status = 401), (status = 404)),
)]
pub async fn placements(
    State(tenancy): State<Tenancy>,
    caller: Caller,
    Path(tenant): Path<String>,
    Query(page): Query<PageRequest>,
) -> Result<Json<Page<PlacementView>>, Problem> {
    let size = page.size()?;
    let rows = tenants::placements(&tenancy, &caller, &tenant_id(tenant)?, page.after()?, size as i64 + 1).await?;
    let view = |(generation, cell, placed_at)| PlacementView { cell, generation, placed_at };
    Ok(Json(Page::of(rows, size, |(generation, _, _)| *generation).map(view)))
}
