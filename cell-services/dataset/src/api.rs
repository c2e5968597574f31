//! HTTP: parse, call a use case, show the result.

mod data;
mod datasets;
mod parameters;
mod transactions;
mod views;

use std::sync::Arc;

use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::ops::App;

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(datasets::create, datasets::list))
        .routes(routes!(datasets::get, datasets::delete))
        .routes(routes!(transactions::open, transactions::list))
        .routes(routes!(transactions::get))
        .routes(routes!(transactions::put_file))
        .routes(routes!(transactions::commit))
        .routes(routes!(transactions::abort))
        .routes(routes!(data::upload))
        .routes(routes!(data::schema))
        .routes(routes!(data::versions))
        .routes(routes!(data::preview))
        .routes(routes!(data::download))
}

/// What the router writes `{*path}`, the rest of a path, is `{path}` in OpenAPI.
pub fn describe() -> OpenApi {
    let mut document = routes().into_openapi();
    let paths = std::mem::take(&mut document.paths.paths).into_iter();
    document.paths.paths = paths.map(|(path, item)| (path.replace("{*", "{"), item)).collect();
    document
}
