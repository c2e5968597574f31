//! `/api/v1/datasets/{dataset}/transactions`.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use http::{HeaderMap, StatusCode};
use kit::http::{Json, Page, PageRequest, Query};
use kit::{Problem, Scope};
use uuid::Uuid;

use super::parameters::{CommitRequest, FormatQuery, OpenQuery, format, kind};
use super::views::{FileView, TransactionView};
use crate::error::Error;
use crate::ops::{App, commit as committing, transactions};

/// Open a transaction; a dataset has at most one open at a time
#[utoipa::path(
    post, path = "/api/v1/datasets/{dataset}/transactions", tag = "transactions",
    params(("dataset" = String, Path, description = "Id or name"), OpenQuery),
    responses((status = 201, body = TransactionView), (status = 403), (status = 404), (status = 409), (status = 422)),
    extensions(("x-cyto-scope" = json!("datasets:write"))),
)]
pub async fn open(
    State(app): State<Arc<App>>,
    scope: Scope,
    Path(reference): Path<String>,
    Query(query): Query<OpenQuery>,
) -> Result<(StatusCode, Json<TransactionView>), Problem> {
    let (dataset, transaction) = transactions::open(&app, &scope, &reference, kind(query.kind.as_deref())?).await?;
    Ok((StatusCode::CREATED, Json(TransactionView::of(&dataset, transaction, Some(Vec::new())))))
}

/// Transactions, newest first
#[utoipa::path(
    get, path = "/api/v1/datasets/{dataset}/transactions", tag = "transactions",
    params(("dataset" = String, Path, description = "Id or name"), PageRequest),
    responses((status = 200, body = Page<TransactionView>), (status = 403), (status = 404)),
    extensions(("x-cyto-scope" = json!("datasets:read"))),
)]
pub async fn list(
    State(app): State<Arc<App>>,
    scope: Scope,
    Path(reference): Path<String>,
    Query(page): Query<PageRequest>,
) -> Result<Json<Page<TransactionView>>, Problem> {
    let (dataset, page) = transactions::list(&app, &scope, &reference, &page).await?;
    Ok(Json(page.map(|transaction| TransactionView::of(&dataset, transaction, None))))
}

/// One transaction with its files
#[utoipa::path(
    get, path = "/api/v1/datasets/{dataset}/transactions/{transaction}", tag = "transactions",
    params(("dataset" = String, Path, description = "Id or name"), ("transaction" = Uuid, Path)),
    responses((status = 200, body = TransactionView), (status = 403), (status = 404)),
    extensions(("x-cyto-scope" = json!("datasets:read"))),
)]
pub async fn get(
    State(app): State<Arc<App>>,
    scope: Scope,
    Path((reference, transaction)): Path<(String, String)>,
) -> Result<Json<TransactionView>, Problem> {
    let (dataset, transaction, files) = transactions::get(&app, &scope, &reference, id(&transaction)?).await?;
    Ok(Json(TransactionView::of(&dataset, transaction, Some(files))))
}

/// Upload a file into an open transaction
///
/// The body is streamed to the bucket; the same path again replaces the file.
#[utoipa::path(
    put, path = "/api/v1/datasets/{dataset}/transactions/{transaction}/files/{*path}", tag = "transactions",
    params(
        ("dataset" = String, Path, description = "Id or name"), ("transaction" = Uuid, Path),
        ("path" = String, Path, description = "Relative path of the file", example = "flights.csv"), FormatQuery,
    ),
    request_body(content = String, content_type = "application/octet-stream"),
    responses((status = 200, body = FileView), (status = 403), (status = 404), (status = 409), (status = 413), (status = 422)),
    extensions(("x-cyto-scope" = json!("datasets:write"))),
)]
pub async fn put_file(
    State(app): State<Arc<App>>,
    scope: Scope,
    Path((reference, transaction, path)): Path<(String, String, String)>,
    Query(query): Query<FormatQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<FileView>, Problem> {
    let format = format(query.format.as_deref(), Some(&headers))?;
    let file = transactions::put_file(&app, &scope, &reference, id(&transaction)?, &path, format, body).await?;
    Ok(Json(file.into()))
}

/// Commit: the files become one new version
///
/// Idempotent. A value that does not fit its column aborts the transaction and is named by row and column.
#[utoipa::path(
    post, path = "/api/v1/datasets/{dataset}/transactions/{transaction}/commit", tag = "transactions",
    params(("dataset" = String, Path, description = "Id or name"), ("transaction" = Uuid, Path), FormatQuery),
    request_body(content = Option<CommitRequest>),
    responses((status = 200, body = TransactionView), (status = 403), (status = 404), (status = 409), (status = 422)),
    extensions(("x-cyto-scope" = json!("datasets:write"))),
)]
pub async fn commit(
    State(app): State<Arc<App>>,
    scope: Scope,
    Path((reference, transaction)): Path<(String, String)>,
    Query(query): Query<FormatQuery>,
    body: Bytes,
) -> Result<Json<TransactionView>, Problem> {
    let request: CommitRequest = if body.is_empty() {
        CommitRequest::default()
    } else {
        serde_json::from_slice(&body).map_err(|error| Error::Parameter(format!("the body is not valid: {error}")))?
    };
    let reading = request.reading(&query)?;
    let (dataset, transaction, files) =
        committing::commit(&app, &scope, &reference, id(&transaction)?, reading).await?;
    Ok(Json(TransactionView::of(&dataset, transaction, Some(files))))
}

/// Abort: nothing of it becomes visible, its files are removed
#[utoipa::path(
    post, path = "/api/v1/datasets/{dataset}/transactions/{transaction}/abort", tag = "transactions",
    params(("dataset" = String, Path, description = "Id or name"), ("transaction" = Uuid, Path)),
    responses((status = 200, body = TransactionView), (status = 403), (status = 404), (status = 409)),
    extensions(("x-cyto-scope" = json!("datasets:write"))),
)]
pub async fn abort(
    State(app): State<Arc<App>>,
    scope: Scope,
    Path((reference, transaction)): Path<(String, String)>,
) -> Result<Json<TransactionView>, Problem> {
    let id = id(&transaction)?;
    let (dataset, transaction) = transactions::abort(&app, &scope, &reference, id, "aborted by its user").await?;
    Ok(Json(TransactionView::of(&dataset, transaction, None)))
}

/// An id that cannot be one is an id that is not there.
fn id(text: &str) -> Result<Uuid, Error> {
    Uuid::parse_str(text).map_err(|_| Error::NoTransaction)
}
