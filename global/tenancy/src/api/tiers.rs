//! Tiers.

use axum::extract::{Path, State};
use contracts::TierId;
use contracts::tiers::Tier;
use http::StatusCode;
use kit::fault::Problem;
use kit::http::{Json, Page, PageRequest, Query};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Tenancy;
use crate::domain::access::Caller;
use crate::error::Error;
use crate::ops::tiers;

/// Limits of each tenant, at all routers together; 0 = none.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PutTier {
    #[schema(maximum = 2147483647)]
    requests_per_second: u32,
    /// Requests that may come at once; at least 1 where there is a rate.
    #[schema(maximum = 2147483647)]
    request_burst: u32,
    /// Requests under way.
    #[schema(maximum = 2147483647)]
    concurrent_requests: u32,
    /// Bytes of bodies, both ways together.
    #[schema(maximum = 9007199254740991_i64)]
    bytes_per_second: u64,
    /// Bytes that may come at once; at least 1 where there is a rate.
    #[schema(maximum = 9007199254740991_i64)]
    byte_burst: u64,
    /// Longest body of a request, in bytes; 0 when absent.
    #[serde(default)]
    #[schema(maximum = 9007199254740991_i64)]
    body_bytes: u64,
    /// Of a router that is full, each of its tenants gets so many times what one of weight 1 gets; 1 when absent.
    #[serde(default = "one")]
    #[schema(minimum = 1, maximum = 1000)]
    weight: u32,
}

fn one() -> u32 {
    1
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TierView {
    id: TierId,
    requests_per_second: u32,
    request_burst: u32,
    concurrent_requests: u32,
    bytes_per_second: u64,
    byte_burst: u64,
    body_bytes: u64,
    weight: u32,
}

impl From<Tier> for TierView {
    fn from(tier: Tier) -> Self {
        Self {
            id: tier.tier,
            requests_per_second: tier.requests_per_second,
            request_burst: tier.request_burst,
            concurrent_requests: tier.concurrent_requests,
            bytes_per_second: tier.bytes_per_second,
            byte_burst: tier.byte_burst,
            body_bytes: tier.body_bytes,
            weight: tier.weight,
        }
    }
}

fn tier_id(text: String) -> Result<TierId, Error> {
    TierId::new(text).map_err(|_| Error::NotFound("tier"))
}

/// Make a tier or change it; saying the same again changes nothing.
#[utoipa::path(
    put, path = "/api/v1/tiers/{tier}", tag = "tiers", params(("tier" = String, Path)), request_body = PutTier,
    responses((status = 200, body = TierView), (status = 401), (status = 403), (status = 404), (status = 422), (status = 503)),
)]
pub async fn put(
    State(tenancy): State<Tenancy>,
    caller: Caller,
    Path(tier): Path<String>,
    Json(body): Json<PutTier>,
) -> Result<Json<TierView>, Problem> {
    let tier = Tier {
        tier: tier_id(tier)?,
        requests_per_second: body.requests_per_second,
        request_burst: body.request_burst,
        concurrent_requests: body.concurrent_requests,
        bytes_per_second: body.bytes_per_second,
        byte_burst: body.byte_burst,
        body_bytes: body.body_bytes,
        weight: body.weight,
    };
    tiers::put(&tenancy, &caller, &tier).await?;
    Ok(Json(tier.into()))
}

#[utoipa::path(get, path = "/api/v1/tiers", tag = "tiers", params(PageRequest), responses((status = 200, body = Page<TierView>), (status = 401), (status = 403)))]
pub async fn list(
    State(tenancy): State<Tenancy>,
    caller: Caller,
    Query(page): Query<PageRequest>,
) -> Result<Json<Page<TierView>>, Problem> {
    let (size, after) = (page.size()?, page.after::<String>()?);
    let rows = tiers::list(&tenancy, &caller, None, after.as_deref(), size as i64 + 1).await?;
    let page = Page::of(rows, size, |tier| tier.tier.to_string());
    let data = page.data.into_iter().map(TierView::from).collect();
    Ok(Json(Page { data, next_page_token: page.next_page_token }))
}

#[utoipa::path(get, path = "/api/v1/tiers/{tier}", tag = "tiers", params(("tier" = String, Path)), responses((status = 200, body = TierView), (status = 401), (status = 403), (status = 404)))]
pub async fn get(
    State(tenancy): State<Tenancy>,
    caller: Caller,
    Path(tier): Path<String>,
) -> Result<Json<TierView>, Problem> {
    let tier = tiers::list(&tenancy, &caller, Some(tier_id(tier)?.as_str()), None, 1).await?.pop();
    Ok(Json(tier.ok_or(Error::NotFound("tier"))?.into()))
}

/// Remove a tier that no tenant is of. Of `standard` this removes the limits: the routers' own hold then.
#[utoipa::path(delete, path = "/api/v1/tiers/{tier}", tag = "tiers", params(("tier" = String, Path)), responses((status = 204), (status = 401), (status = 403), (status = 404), (status = 412), (status = 503)))]
pub async fn remove(
    State(tenancy): State<Tenancy>,
    caller: Caller,
    Path(tier): Path<String>,
) -> Result<StatusCode, Problem> {
    tiers::remove(&tenancy, &caller, &tier_id(tier)?).await?;
    Ok(StatusCode::NO_CONTENT)
}
