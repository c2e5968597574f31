//! HTTP: how busy the pool is, for the cell's own services.

use std::sync::Arc;

use axum::extract::State;
use kit::http::Json;
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::ops::Pool;

pub fn routes() -> OpenApiRouter<Arc<Pool>> {
    OpenApiRouter::new().routes(routes!(pool))
}

pub fn describe() -> utoipa::openapi::OpenApi {
    routes().into_openapi()
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PoolView {
    /// Statements whose rows are being computed or read.
    pub running: usize,
    /// Statements that may run at the same time.
    pub capacity: usize,
}

/// How busy the pool is
#[utoipa::path(get, path = "/internal/v1/pool", tag = "sql-warehousing", responses((status = 200, body = PoolView)))]
async fn pool(State(pool): State<Arc<Pool>>) -> Json<PoolView> {
    Json(PoolView { running: pool.running(), capacity: pool.capacity() })
}
