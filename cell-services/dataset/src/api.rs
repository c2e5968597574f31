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

pub fn describe() -> OpenApi {
    routes().into_openapi()
}
