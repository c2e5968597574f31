//! `/api/v1/streams`.

use std::sync::Arc;

use axum::extract::{Path, State};
use http::StatusCode;
use kit::http::{Json, Page, PageRequest, Query};
use kit::{Problem, Scope};
use serde::Deserialize;

use super::views::{SchemaBody, SchemaView, SchemasView, StreamView};
use crate::error::Error;
use crate::ops::{App, streams};

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateRequest {
    /// 1 to 63 characters of a-z, 0-9 and `_`, beginning with a letter.
    #[schema(example = "flights")]
    pub name: String,
    pub schema: SchemaBody,
}

/// Create a stream
#[utoipa::path(
    post, path = "/api/v1/streams", tag = "streams", request_body = CreateRequest,
    responses((status = 201, body = StreamView), (status = 403), (status = 409, description = "The name is taken"), (status = 422)),
    extensions(("x-cyto-scope" = json!("streams:write"))),
)]
pub async fn create(
    State(app): State<Arc<App>>,
    scope: Scope,
    Json(request): Json<CreateRequest>,
) -> Result<(StatusCode, Json<StreamView>), Problem> {
    let stream = streams::create(&app, &scope, &request.name, request.schema.fields).await?;
    Ok((StatusCode::CREATED, Json(StreamView::of(&app, stream))))
}

/// List streams by name
#[utoipa::path(
    get, path = "/api/v1/streams", tag = "streams", params(PageRequest),
    responses((status = 200, body = Page<StreamView>), (status = 403), (status = 422)),
    extensions(("x-cyto-scope" = json!("streams:read"))),
)]
pub async fn list(
    State(app): State<Arc<App>>,
    scope: Scope,
    Query(page): Query<PageRequest>,
) -> Result<Json<Page<StreamView>>, Problem> {
    let page = streams::list(&app, &scope, &page).await?;
    Ok(Json(page.map(|stream| StreamView::of(&app, stream))))
}

/// One stream
#[utoipa::path(
    get, path = "/api/v1/streams/{stream}", tag = "streams",
    params(("stream" = String, Path, description = "Id or name")),
    responses((status = 200, body = StreamView), (status = 403), (status = 404)),
    extensions(("x-cyto-scope" = json!("streams:read"))),
)]
pub async fn get(
    State(app): State<Arc<App>>,
    scope: Scope,
    Path(reference): Path<String>,
) -> Result<Json<StreamView>, Problem> {
    let stream = streams::get(&app, &scope, &reference).await?;
    Ok(Json(StreamView::of(&app, stream)))
}

/// Delete a stream; its table stays
#[utoipa::path(
    delete, path = "/api/v1/streams/{stream}", tag = "streams",
    params(("stream" = String, Path, description = "Id or name")),
    responses((status = 204), (status = 403), (status = 404)),
    extensions(("x-cyto-scope" = json!("streams:write"))),
)]
pub async fn delete(
    State(app): State<Arc<App>>,
    scope: Scope,
    Path(reference): Path<String>,
) -> Result<StatusCode, Problem> {
    streams::delete(&app, &scope, &reference).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Add fields: a new schema version
///
/// The body holds every field; the new ones are nullable, the others as they are.
#[utoipa::path(
    post, path = "/api/v1/streams/{stream}/schema", tag = "streams", request_body = SchemaBody,
    params(("stream" = String, Path, description = "Id or name")),
    responses((status = 200, body = StreamView), (status = 403), (status = 404), (status = 422)),
    extensions(("x-cyto-scope" = json!("streams:write"))),
)]
pub async fn grow(
    State(app): State<Arc<App>>,
    scope: Scope,
    Path(reference): Path<String>,
    Json(body): Json<SchemaBody>,
) -> Result<Json<StreamView>, Problem> {
    let stream = streams::grow(&app, &scope, &reference, body.fields).await?;
    Ok(Json(StreamView::of(&app, stream)))
}

/// One schema version
#[utoipa::path(
    get, path = "/api/v1/streams/{stream}/schema/{version}", tag = "streams",
    params(("stream" = String, Path, description = "Id or name"), ("version" = i32, Path)),
    responses((status = 200, body = SchemaView), (status = 403), (status = 404)),
    extensions(("x-cyto-scope" = json!("streams:read"))),
)]
pub async fn schema(
    State(app): State<Arc<App>>,
    scope: Scope,
    Path((reference, version)): Path<(String, i32)>,
) -> Result<Json<SchemaView>, Problem> {
    let (_, schemas) = streams::schemas(&app, &scope, &reference).await?;
    let found = schemas.into_iter().find(|s| s.version == version).ok_or(Error::NoSchema)?;
    Ok(Json(found.into()))
}

/// All schema versions
///
/// By its id a deleted stream answers too, because rows of it may still be on their way.
#[utoipa::path(
    get, path = "/api/v1/streams/{stream}/schemas", tag = "streams",
    params(("stream" = String, Path, description = "Id or name")),
    responses((status = 200, body = SchemasView), (status = 403), (status = 404)),
    extensions(("x-cyto-scope" = json!("streams:read"))),
)]
pub async fn schemas(
    State(app): State<Arc<App>>,
    scope: Scope,
    Path(reference): Path<String>,
) -> Result<Json<SchemasView>, Problem> {
    let (stream, schemas) = streams::schemas(&app, &scope, &reference).await?;
    let schemas = schemas.into_iter().map(SchemaView::from).collect();
    Ok(Json(SchemasView { id: stream.id, name: stream.name, deleted: stream.deleted, schemas }))
}
