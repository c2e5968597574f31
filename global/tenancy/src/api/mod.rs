//! HTTP: parse → operation → view.

mod cells;
mod contracts;
mod drains;
mod feeds;
mod groups;
mod moves;
mod organisations;
mod tenants;
mod tiers;

use ::contracts::Claims;
use axum::extract::FromRequestParts;
use http::request::Parts;
use kit::fault::Problem;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Tenancy;
use crate::domain::access::Caller;
use crate::error::Error;

/// Everything clients may reach.
pub fn router(tenancy: Tenancy) -> axum::Router {
    let (router, _) = routes().with_state(tenancy).split_for_parts();
    router
}

/// The same as a description.
pub fn openapi() -> utoipa::openapi::OpenApi {
    routes().into_openapi()
}

fn routes() -> OpenApiRouter<Tenancy> {
    OpenApiRouter::new()
        .routes(routes!(organisations::create, organisations::list))
        .routes(routes!(organisations::get))
        .routes(routes!(cells::create, cells::list))
        .routes(routes!(cells::put, cells::get, cells::remove))
        .routes(routes!(drains::begin, drains::list, drains::cancel))
        .routes(routes!(drains::plan))
        .routes(routes!(tenants::create, tenants::list))
        .routes(routes!(tenants::get, tenants::remove))
        .routes(routes!(tenants::add_host))
        .routes(routes!(tenants::remove_host))
        .routes(routes!(tenants::place, tenants::placements))
        .routes(routes!(tenants::set_tier))
        .routes(routes!(moves::begin, moves::list, moves::cancel))
        .routes(routes!(moves::under_way))
        .routes(routes!(tiers::list))
        .routes(routes!(tiers::put, tiers::get, tiers::remove))
        .routes(routes!(groups::list))
        .routes(routes!(groups::put, groups::remove))
        .routes(routes!(groups::of_tenant))
        .routes(routes!(contracts::list))
}

/// What only the router and cells may reach; the host guards it.
pub fn internal_router(tenancy: Tenancy) -> axum::Router {
    use axum::routing::{get, post};
    axum::Router::new()
        .route("/internal/v1/routing", get(feeds::routing))
        .route("/internal/v1/shares", post(feeds::shares))
        .route("/internal/v1/cells/{cell}/placements", get(feeds::placements))
        .route("/internal/v1/contracts/bundle", get(feeds::bundle))
        .route("/internal/v1/cells/{cell}/report", post(feeds::report))
        .with_state(tenancy)
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let claims = parts.extensions.get::<Claims>().map(Caller::from_claims);
        Ok(claims.ok_or(Error::Unauthenticated)?)
    }
}
