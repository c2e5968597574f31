//! The first request of every client.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};

use super::App;
use super::envelope::Refusal;
use super::request::Caller;
use crate::ops::Need;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Warehouse {
    /// The tenant; may be left out, because the token names it as well.
    warehouse: Option<String>,
}

#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct CatalogConfig {
    overrides: BTreeMap<&'static str, String>,
    defaults: BTreeMap<String, String>,
    endpoints: Vec<&'static str>,
    idempotency_key_lifetime: String,
}

const ENDPOINTS: &[&str] = &[
    "GET /v1/{prefix}/namespaces",
    "POST /v1/{prefix}/namespaces",
    "GET /v1/{prefix}/namespaces/{namespace}",
    "HEAD /v1/{prefix}/namespaces/{namespace}",
    "DELETE /v1/{prefix}/namespaces/{namespace}",
    "POST /v1/{prefix}/namespaces/{namespace}/properties",
    "GET /v1/{prefix}/namespaces/{namespace}/tables",
    "POST /v1/{prefix}/namespaces/{namespace}/tables",
    "GET /v1/{prefix}/namespaces/{namespace}/tables/{table}",
    "HEAD /v1/{prefix}/namespaces/{namespace}/tables/{table}",
    "POST /v1/{prefix}/namespaces/{namespace}/tables/{table}",
    "DELETE /v1/{prefix}/namespaces/{namespace}/tables/{table}",
    "GET /v1/{prefix}/namespaces/{namespace}/tables/{table}/credentials",
    "POST /v1/{prefix}/namespaces/{namespace}/tables/{table}/metrics",
    "POST /v1/{prefix}/namespaces/{namespace}/register",
    "POST /v1/{prefix}/tables/rename",
    "POST /v1/{prefix}/transactions/commit",
];

#[utoipa::path(get, path = "/iceberg/v1/config", tag = "iceberg-catalog", operation_id = "catalogConfig", params(Warehouse),
    responses((status = 200, body = CatalogConfig)),
    extensions(("x-cyto-scope" = json!("catalog:read"))))]
pub async fn config(
    State(app): State<App>,
    Caller(scope): Caller,
    Query(query): Query<Warehouse>,
) -> Result<Json<CatalogConfig>, Refusal> {
    let warehouse = query.warehouse.as_deref().filter(|name| !name.is_empty()).unwrap_or(scope.tenant.as_str());
    app.allow(&scope, warehouse, Need::Read, "catalog.config", "config").await?;
    Ok(Json(CatalogConfig {
        overrides: BTreeMap::from([("prefix", scope.tenant.to_string())]),
        defaults: app.client_config(),
        endpoints: ENDPOINTS.to_vec(),
        idempotency_key_lifetime: format!("PT{}H", app.settings().idempotency_hours),
    }))
}
