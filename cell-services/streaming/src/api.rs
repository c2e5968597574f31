//! HTTP: parse, call a use case, show.

mod records;
mod streams;
mod tail;
mod views;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::ops::App;

fn surface() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(streams::create, streams::list))
        .routes(routes!(streams::get, streams::delete))
        .routes(routes!(streams::grow))
        .routes(routes!(streams::schema))
        .routes(routes!(streams::schemas))
        .routes(routes!(tail::tail))
        .merge(
            // A batch is streamed and may be of any length; a row is bounded.
            OpenApiRouter::new().routes(routes!(records::push)).layer(DefaultBodyLimit::disable()),
        )
}

pub fn router(app: Arc<App>) -> Router {
    surface().with_state(app).into()
}

pub fn describe() -> utoipa::openapi::OpenApi {
    surface().into_openapi()
}
