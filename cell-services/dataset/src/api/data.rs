//! Rows in and out: upload, schema, versions, preview, download.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use kit::http::{Json, Page, PageRequest, Query, idempotency};
use kit::{Problem, Scope};

use super::parameters::{DownloadQuery, PreviewQuery, UploadQuery, VersionQuery, format, kind};
use super::views::{PreviewView, SchemaView, TransactionView, VersionView};
use crate::domain::Format;
use crate::error::Error;
use crate::ops::upload::{Arrival, upload as upload_whole};
use crate::ops::{App, read, transactions};

const PREVIEW_ROWS: usize = 100;

/// Upload one file as one transaction: open, stream, commit
///
/// If anything fails, the transaction is aborted and nothing is visible. With an Idempotency-Key a repeat of an
/// upload that was committed is answered as it was and adds nothing, for as long as the dataset lives.
#[utoipa::path(
    post, path = "/api/v1/datasets/{dataset}/upload", tag = "data",
    params(("dataset" = String, Path, description = "Id or name"), UploadQuery,
           ("idempotency-key" = Option<String>, Header, description = "1 to 128 visible characters")),
    request_body(content = String, content_type = "text/csv"),
    responses((status = 201, body = TransactionView), (status = 403), (status = 404), (status = 409), (status = 413), (status = 422)),
    extensions(("x-cyto-scope" = json!("datasets:write"))),
)]
pub async fn upload(
    State(app): State<Arc<App>>,
    scope: Scope,
    Path(reference): Path<String>,
    Query(query): Query<UploadQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (kind, reading) = (kind(query.kind.as_deref())?, query.reading(&headers)?);
    let key = idempotency::key(&headers).map_err(Error::from)?.map(str::to_owned);
    let landed = upload_whole(&app, &scope, &reference, Arrival { kind, reading, key, body }).await?;
    let view = TransactionView::of(&landed.dataset, landed.transaction, Some(landed.files));
    let mut response = (StatusCode::CREATED, Json(view)).into_response();
    if landed.replayed {
        response.headers_mut().insert(idempotency::REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// Columns of a version
#[utoipa::path(
    get, path = "/api/v1/datasets/{dataset}/schema", tag = "data",
    params(("dataset" = String, Path, description = "Id or name"), VersionQuery),
    responses((status = 200, body = SchemaView), (status = 403), (status = 404)),
    extensions(("x-cyto-scope" = json!("datasets:read"))),
)]
pub async fn schema(
    State(app): State<Arc<App>>,
    scope: Scope,
    Path(reference): Path<String>,
    Query(query): Query<VersionQuery>,
) -> Result<Json<SchemaView>, Problem> {
    let version = read::version(&app, &scope, &reference, query.version).await?;
    Ok(Json(SchemaView { version: version.version, fields: version.columns }))
}

/// Versions, newest first
#[utoipa::path(
    get, path = "/api/v1/datasets/{dataset}/versions", tag = "data",
    params(("dataset" = String, Path, description = "Id or name"), PageRequest),
    responses((status = 200, body = Page<VersionView>), (status = 403), (status = 404)),
    extensions(("x-cyto-scope" = json!("datasets:read"))),
)]
pub async fn versions(
    State(app): State<Arc<App>>,
    scope: Scope,
    Path(reference): Path<String>,
    Query(page): Query<PageRequest>,
) -> Result<Json<Page<VersionView>>, Problem> {
    let page = transactions::versions(&app, &scope, &reference, &page).await?;
    Ok(Json(page.map(VersionView::from)))
}

/// The first rows of a version
#[utoipa::path(
    get, path = "/api/v1/datasets/{dataset}/preview", tag = "data",
    params(("dataset" = String, Path, description = "Id or name"), PreviewQuery),
    responses((status = 200, body = PreviewView), (status = 403), (status = 404), (status = 422)),
    extensions(("x-cyto-scope" = json!("datasets:read"))),
)]
pub async fn preview(
    State(app): State<Arc<App>>,
    scope: Scope,
    Path(reference): Path<String>,
    Query(query): Query<PreviewQuery>,
) -> Result<Json<PreviewView>, Problem> {
    let limit = query.rows.unwrap_or(PREVIEW_ROWS);
    if !(1..=read::MOST_PREVIEW_ROWS).contains(&limit) {
        return Err(Error::Parameter(format!("rows is between 1 and {}", read::MOST_PREVIEW_ROWS)).into());
    }
    let version = read::version(&app, &scope, &reference, query.version).await?;
    let rows = read::preview(&app, &scope, &version, limit).await?;
    Ok(Json(PreviewView { version: version.version, schema: version.columns, rows }))
}

/// All rows of a version, streamed
#[utoipa::path(
    get, path = "/api/v1/datasets/{dataset}/download", tag = "data",
    params(("dataset" = String, Path, description = "Id or name"), DownloadQuery),
    responses((status = 200, content_type = "text/csv", body = String), (status = 403), (status = 404), (status = 422)),
    extensions(("x-cyto-scope" = json!("datasets:read"))),
)]
pub async fn download(
    State(app): State<Arc<App>>,
    scope: Scope,
    Path(reference): Path<String>,
    Query(query): Query<DownloadQuery>,
) -> Result<Response, Problem> {
    let format = format(query.format.as_deref(), None)?.unwrap_or(Format::Csv);
    let version = read::version(&app, &scope, &reference, query.version).await?;
    let bytes = read::download(&app, &scope, &version, format).await?;
    let file = format!("attachment; filename=\"{}-v{}.{}\"", version.dataset.name, version.version, format.extension());
    let mut response = Body::from_stream(bytes).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    if let Ok(value) = HeaderValue::from_str(&file) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    Ok(response)
}
