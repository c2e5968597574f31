//! `/api/v1/sinks`.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use contracts::events::STREAMING_RECORD_ACCEPTED;
use event_bus_data::LagMeter;
use kit::database::Database;
use kit::http::{Json, Page, PageRequest, Query};
use kit::{Problem, Scope};
use serde::Serialize;
use time::OffsetDateTime;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::domain::NAMESPACE;
use crate::error::Error;
use crate::ops::sinks;
use crate::store::SinkRow;

/// What the handlers need.
pub struct Handlers {
    pub database: Database,
    pub lag: Arc<LagMeter>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SinkView {
    pub stream: Uuid,
    pub name: String,
    /// `<namespace>.<table>` in the tenant's catalog.
    pub table: String,
    /// Rows in the table after its last commit.
    pub rows: i64,
    /// Records of the cell's topic that the sink has not dealt with yet: an upper bound for any
    /// one stream. 0 means that everything accepted is in its table.
    pub lag: i64,
    /// Next offset by partition of the topic: rows below it are in the table, exactly once.
    #[schema(value_type = Object)]
    pub offsets: serde_json::Value,
    /// A 64-bit number as text: not every reader of JSON keeps 64 bits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_id: Option<String>,
    /// Rows given up after they had been accepted; they are in the dead letters.
    pub dead_letters: i64,
    /// The stream was deleted; its table stays.
    pub deleted: bool,
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub last_commit_at: Option<OffsetDateTime>,
}

impl SinkView {
    fn of(sink: SinkRow, lag: i64) -> Self {
        let offsets = sink.offsets.get(STREAMING_RECORD_ACCEPTED).cloned().unwrap_or_else(|| serde_json::json!({}));
        Self {
            stream: sink.stream,
            table: format!("{NAMESPACE}.{}", sink.table_name),
            name: sink.name,
            rows: sink.rows,
            lag,
            offsets,
            snapshot_id: sink.snapshot_id.map(|id| id.to_string()),
            dead_letters: sink.dead_letters,
            deleted: sink.deleted,
            last_commit_at: sink.last_commit_at,
        }
    }
}

fn surface() -> OpenApiRouter<Arc<Handlers>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(get))
}

pub fn router(handlers: Handlers) -> Router {
    surface().with_state(Arc::new(handlers)).into()
}

pub fn describe() -> utoipa::openapi::OpenApi {
    surface().into_openapi()
}

/// List the tables that streams flow into
#[utoipa::path(
    get, path = "/api/v1/sinks", tag = "sinks", params(PageRequest),
    responses((status = 200, body = Page<SinkView>), (status = 403), (status = 422)),
    extensions(("x-cyto-scope" = json!("sinks:read"))),
)]
async fn list(
    State(handlers): State<Arc<Handlers>>,
    scope: Scope,
    Query(page): Query<PageRequest>,
) -> Result<Json<Page<SinkView>>, Problem> {
    let page = sinks::list(&handlers.database, &scope, &page).await?;
    let lag = if page.data.is_empty() { 0 } else { handlers.lag.lag().await.map_err(Error::from)? };
    Ok(Json(page.map(|sink| SinkView::of(sink, lag))))
}

/// The table of one stream
#[utoipa::path(
    get, path = "/api/v1/sinks/{stream}", tag = "sinks",
    params(("stream" = String, Path, description = "Id or name of the stream")),
    responses((status = 200, body = SinkView), (status = 403), (status = 404)),
    extensions(("x-cyto-scope" = json!("sinks:read"))),
)]
async fn get(
    State(handlers): State<Arc<Handlers>>,
    scope: Scope,
    Path(reference): Path<String>,
) -> Result<Json<SinkView>, Problem> {
    let sink = sinks::get(&handlers.database, &scope, &reference).await?;
    let lag = handlers.lag.lag().await.map_err(Error::from)?;
    Ok(Json(SinkView::of(sink, lag)))
}
