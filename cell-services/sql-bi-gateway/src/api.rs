//! HTTP: parse, call a use case, show the result.

use std::sync::Arc;

use arrow_flight::error::FlightError;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use contracts::claims::scope::SQL_READ;
use futures::{StreamExt, stream};
use http::header::CONTENT_TYPE;
use kit::http::{Json, Page, PageRequest, Query};
use kit::{Problem, Scope};
use query_engine::SessionOptions;
use query_engine::flight::Statement;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::ops::{self, Edge};
use crate::rows::{self, Lines};
use crate::store::Past;

pub fn routes() -> OpenApiRouter<Arc<Edge>> {
    OpenApiRouter::new().routes(routes!(run, history))
}

pub fn describe() -> utoipa::openapi::OpenApi {
    routes().into_openapi()
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StatementRequest {
    /// One statement that reads.
    #[schema(example = "select carrier, count(*) as flights from streams.flights group by carrier")]
    pub sql: String,
    /// Values of `?` or `$1`, `$2`, …: numbers, texts, booleans or null.
    #[serde(default)]
    #[schema(value_type = Vec<Object>)]
    pub parameters: Vec<serde_json::Value>,
    /// Schema searched first for unqualified tables.
    pub schema: Option<String>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatementView {
    pub id: Uuid,
    pub statement: Uuid,
    /// `user:<sub>` or `service:<name>`.
    pub actor: String,
    pub request_id: String,
    /// SHA-256 in hex of the statement without its literals.
    pub fingerprint: String,
    /// The statement with `?` for every literal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redacted: Option<String>,
    /// `pool` or `edge`.
    pub route: String,
    /// `<schema>.<table>` of every table read.
    pub tables: Vec<String>,
    /// `finished`, `failed` or `abandoned`.
    pub state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    pub rows: i64,
    /// Bytes sent, as Arrow.
    pub bytes: i64,
    #[serde(with = "time::serde::rfc3339")]
    pub started_at: OffsetDateTime,
    pub milliseconds: f64,
}

impl From<Past> for StatementView {
    fn from(past: Past) -> Self {
        Self {
            id: past.id,
            statement: past.statement_id,
            actor: past.actor,
            request_id: past.request_id,
            fingerprint: past.fingerprint,
            redacted: past.redacted,
            route: past.route,
            tables: past.tables,
            state: past.state,
            error: past.error,
            rows: past.rows,
            bytes: past.bytes,
            started_at: past.started_at,
            milliseconds: (past.finished_at - past.started_at).as_seconds_f64() * 1000.0,
        }
    }
}

/// Run one statement; rows follow as JSON objects, one per line
#[utoipa::path(
    post, path = "/api/v1/sql/statements", tag = "sql", request_body = StatementRequest,
    responses(
        (status = 200, content_type = "application/x-ndjson", description = "One object per row; a body that breaks off is not complete"),
        (status = 403), (status = 404), (status = 413), (status = 422), (status = 429), (status = 503), (status = 504)
    ),
    extensions(("x-cyto-scope" = json!("sql:read"))),
)]
async fn run(
    State(edge): State<Arc<Edge>>,
    scope: Scope,
    Json(request): Json<StatementRequest>,
) -> Result<Response, Problem> {
    scope.require(SQL_READ)?;
    edge.limits.call(&scope.tenant)?;
    let mut statement = Statement::new(&scope, SessionOptions { schema: request.schema }, request.sql);
    if !request.parameters.is_empty() {
        let limit = edge.engine.0.limits().parameters;
        statement.bind(&[rows::parameters(&request.parameters)?], limit)?;
    }
    let id = statement.id;
    let messages = edge.statement(&scope, statement).await?;
    let mut response = Body::from_stream(begun(rows::lines(messages)).await?).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, http::HeaderValue::from_static("application/x-ndjson"));
    if let Ok(id) = http::HeaderValue::from_str(&id.to_string()) {
        headers.insert("statement-id", id);
    }
    Ok(response)
}

/// Waits for the first rows: a statement that fails before them is answered with its problem and not
/// with a body that breaks off.
async fn begun(mut lines: Lines) -> Result<Lines, Problem> {
    let first = match lines.next().await {
        Some(Err(FlightError::Tonic(status))) => return Err(ops::problem(&status)),
        first => first,
    };
    Ok(stream::iter(first).chain(lines).boxed())
}

/// Statements that ran, newest first: one's own, or everybody's with audit:read
#[utoipa::path(
    get, path = "/api/v1/sql/statements", tag = "sql", params(PageRequest),
    responses((status = 200, body = Page<StatementView>), (status = 403), (status = 422)),
    extensions(("x-cyto-scope" = json!("sql:read"))),
)]
async fn history(
    State(edge): State<Arc<Edge>>,
    scope: Scope,
    Query(page): Query<PageRequest>,
) -> Result<Json<Page<StatementView>>, Problem> {
    Ok(Json(edge.history(&scope, &page).await?.map(StatementView::from)))
}
