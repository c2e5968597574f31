//! `/api/v1/datasets`.

use std::sync::Arc;

use axum::extract::{Path, State};
use http::StatusCode;
use kit::http::{Json, Page, PageRequest, Query};
use kit::{Problem, Scope};
use serde::Deserialize;

use super::parameters::NameQuery;
use super::views::DatasetView;
use crate::ops::{App, datasets};

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateRequest {
    /// 1 to 63 characters of a-z, 0-9 and `_`, beginning with a letter.
    #[schema(example = "airlines")]
    pub name: String,
    #[serde(default)]
    pub description: String,
}

/// Create a dataset
#[utoipa::path(
    post, path = "/api/v1/datasets", tag = "datasets", request_body = CreateRequest,
    responses((status = 201, body = DatasetView), (status = 403), (status = 409, description = "The name is taken"), (status = 422)),
    extensions(("x-cyto-scope" = json!("datasets:write"))),
)]
pub async fn create(
    State(app): State<Arc<App>>,
    scope: Scope,
    Json(request): Json<CreateRequest>,
) -> Result<(StatusCode, Json<DatasetView>), Problem> {
    let dataset = datasets::create(&app, &scope, &request.name, &request.description).await?;
    Ok((StatusCode::CREATED, Json(DatasetView::of(&app.cell, dataset))))
}

/// List datasets by name
#[utoipa::path(
    get, path = "/api/v1/datasets", tag = "datasets", params(NameQuery, PageRequest),
    responses((status = 200, body = Page<DatasetView>), (status = 403), (status = 422)),
    extensions(("x-cyto-scope" = json!("datasets:read"))),
)]
pub async fn list(
    State(app): State<Arc<App>>,
    scope: Scope,
    Query(name): Query<NameQuery>,
    Query(page): Query<PageRequest>,
) -> Result<Json<Page<DatasetView>>, Problem> {
    let page = datasets::list(&app, &scope, name.name.as_deref(), &page).await?;
    Ok(Json(page.map(|dataset| DatasetView::of(&app.cell, dataset))))
}

/// One dataset
#[utoipa::path(
    get, path = "/api/v1/datasets/{dataset}", tag = "datasets",
    params(("dataset" = String, Path, description = "Id or name")),
    responses((status = 200, body = DatasetView), (status = 403), (status = 404)),
    extensions(("x-cyto-scope" = json!("datasets:read"))),
)]
pub async fn get(
    State(app): State<Arc<App>>,
    scope: Scope,
    Path(reference): Path<String>,
) -> Result<Json<DatasetView>, Problem> {
    let dataset = datasets::get(&app, &scope, &reference).await?;
    Ok(Json(DatasetView::of(&app.cell, dataset)))
}

/// Delete a dataset with its table
#[utoipa::path(
    delete, path = "/api/v1/datasets/{dataset}", tag = "datasets",
    params(("dataset" = String, Path, description = "Id or name")),
    responses((status = 204), (status = 403), (status = 404), (status = 409, description = "A commit is under way")),
    extensions(("x-cyto-scope" = json!("datasets:write"))),
)]
pub async fn delete(
    State(app): State<Arc<App>>,
    scope: Scope,
    Path(reference): Path<String>,
) -> Result<StatusCode, Problem> {
    datasets::delete(&app, &scope, &reference).await?;
    Ok(StatusCode::NO_CONTENT)
}
