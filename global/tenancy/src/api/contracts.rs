//! Published contract versions.

use axum::extract::State;
use kit::fault::Problem;
use kit::http::{Json, Page, PageRequest, Query};
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::Tenancy;
use crate::domain::access::Caller;
use crate::ops::contracts;
use crate::store::contracts::Bundle;

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BundleView {
    version: i32,
    sha256: String,
    #[serde(with = "time::serde::rfc3339")]
    published_at: OffsetDateTime,
}

#[utoipa::path(get, path = "/api/v1/contracts", tag = "contracts", params(PageRequest), responses((status = 200, body = Page<BundleView>), (status = 401), (status = 403)))]
pub async fn list(
    State(tenancy): State<Tenancy>,
    caller: Caller,
    Query(page): Query<PageRequest>,
) -> Result<Json<Page<BundleView>>, Problem> {
    let size = page.size()?;
    let rows = contracts::list(&tenancy, &caller, page.after()?, size as i64 + 1).await?;
    let view = |b: Bundle| BundleView { version: b.version, sha256: b.sha256, published_at: b.published_at };
    Ok(Json(Page::of(rows, size, |b| b.version).map(view)))
}
