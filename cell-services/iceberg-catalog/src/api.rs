//! The Iceberg REST surface: parse, call one operation, show.

mod config;
mod envelope;
mod namespaces;
mod request;
mod tables;
mod transactions;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::ops::Catalog;

type App = Arc<Catalog>;

fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(config::config))
        .routes(routes!(namespaces::list, namespaces::create))
        .routes(routes!(namespaces::load, namespaces::exists, namespaces::drop))
        .routes(routes!(namespaces::update))
        .routes(routes!(tables::list, tables::create))
        .routes(routes!(tables::load, tables::exists, tables::drop, transactions::commit_table))
        .routes(routes!(tables::rename))
        .routes(routes!(tables::register))
        .routes(routes!(tables::credentials))
        .routes(routes!(tables::report))
        .routes(routes!(transactions::commit_many))
}

pub fn openapi() -> OpenApi {
    routes().into_openapi()
}

pub fn router(catalog: App) -> Router {
    let limit = catalog.settings().max_body_bytes;
    let (router, _) = routes().split_for_parts();
    let router = router.route_layer(from_fn_with_state(catalog.clone(), request::own_warehouse_only));
    router.fallback(envelope::no_such_route).layer(DefaultBodyLimit::max(limit)).with_state(catalog)
}
