//! HTTP: parse, call a use case, show the result.

use axum::extract::State;
use contracts::TenantId;
use http::StatusCode;
use kit::database::Database;
use kit::http::{Json, Page, PageRequest, Query};
use kit::{Problem, Scope};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::domain::{Dataset, EventError, NodeName, RunEvent, RunState};
use crate::error::Error;
use crate::ops;

const DEPTH: u32 = 5;

pub fn routes() -> OpenApiRouter<Database> {
    OpenApiRouter::new().routes(routes!(submit)).routes(routes!(events)).routes(routes!(graph))
}

pub fn describe() -> utoipa::openapi::OpenApi {
    routes().into_openapi()
}

/// An OpenLineage run event; members that are not read are allowed, as the specification asks.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunEventRequest {
    /// `START`, `RUNNING`, `COMPLETE`, `ABORT`, `FAIL` or `OTHER`.
    pub event_type: String,
    #[serde(with = "time::serde::rfc3339")]
    pub event_time: OffsetDateTime,
    pub run: RunRequest,
    pub job: JobRequest,
    #[serde(default)]
    pub inputs: Vec<DatasetRequest>,
    #[serde(default)]
    pub outputs: Vec<DatasetRequest>,
    pub producer: String,
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunRequest {
    pub run_id: Uuid,
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
pub struct JobRequest {
    pub namespace: String,
    pub name: String,
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
pub struct DatasetRequest {
    pub namespace: String,
    pub name: String,
    #[serde(default)]
    #[schema(value_type = Object)]
    pub facets: Map<String, Value>,
}

impl RunEventRequest {
    /// The same event sent twice by a tenant is one event: its id is made of the tenant and of what it says.
    pub(crate) fn event(self, tenant: &TenantId) -> Result<RunEvent, Error> {
        let datasets = |list: Vec<DatasetRequest>| {
            list.into_iter()
                .map(|d| Dataset { node: NodeName::dataset(d.namespace, d.name), facets: d.facets })
                .collect::<Vec<_>>()
        };
        let mut event = RunEvent {
            event_id: Uuid::nil(),
            at: self.event_time,
            state: RunState::parse(&self.event_type).ok_or(EventError::Type)?,
            run_id: self.run.run_id,
            job: NodeName::job(self.job.namespace, self.job.name),
            producer: self.producer,
            inputs: datasets(self.inputs),
            outputs: datasets(self.outputs),
        };
        let said = event.open_lineage(&event.at.unix_timestamp_nanos().to_string()).to_string();
        event.event_id = Uuid::new_v5(&event.run_id, format!("{tenant}\n{said}").as_bytes());
        Ok(event)
    }
}

/// Report a run from outside, as OpenLineage
///
/// The event enters this tenant's graph, whatever namespaces it names. Sending it again changes nothing.
#[utoipa::path(
    post, path = "/api/v1/lineage", tag = "lineage", request_body = RunEventRequest,
    responses((status = 201, description = "Taken"), (status = 403), (status = 413), (status = 422)),
    extensions(("x-cyto-scope" = json!("lineage:write"))),
)]
async fn submit(
    State(database): State<Database>,
    scope: Scope,
    Json(request): Json<RunEventRequest>,
) -> Result<StatusCode, Problem> {
    ops::submit(&database, &scope, &request.event(&scope.tenant)?).await?;
    Ok(StatusCode::CREATED)
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// Only events of this run.
    pub run_id: Option<String>,
}

/// Run events, newest first
#[utoipa::path(
    get, path = "/api/v1/lineage/events", tag = "lineage", params(EventsQuery, PageRequest),
    responses((status = 200, body = Page<Object>, description = "OpenLineage run events"), (status = 403), (status = 422)),
    extensions(("x-cyto-scope" = json!("lineage:read"))),
)]
async fn events(
    State(database): State<Database>,
    scope: Scope,
    Query(query): Query<EventsQuery>,
    Query(page): Query<PageRequest>,
) -> Result<Json<Page<Value>>, Problem> {
    let run = query.run_id.map(|text| Uuid::parse_str(&text).map_err(|_| Error::RunId)).transpose()?;
    let page = ops::events(&database, &scope, run, &page).await?;
    Ok(Json(page.map(|row| row.event)))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct GraphQuery {
    /// `dataset:<namespace>:<name>` or `job:<namespace>:<name>`.
    pub node_id: Option<String>,
    /// `<schema>.<table>`: short for a table of this tenant.
    pub dataset: Option<String>,
    /// Steps each way, 1 to 20; 5 when absent.
    pub depth: Option<u32>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct GraphView {
    pub graph: Vec<NodeView>,
    /// Whether more nodes belong to the answer than are shown.
    pub truncated: bool,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeView {
    pub id: String,
    /// `DATASET` or `JOB`.
    #[serde(rename = "type")]
    pub kind: String,
    pub data: NodeData,
    pub in_edges: Vec<EdgeView>,
    pub out_edges: Vec<EdgeView>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeData {
    pub namespace: String,
    pub name: String,
    /// Newest facets of a dataset, newest run of a job.
    #[schema(value_type = Object)]
    pub latest: Value,
    #[serde(with = "time::serde::rfc3339")]
    pub last_seen: OffsetDateTime,
}

#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct EdgeView {
    pub origin: String,
    pub destination: String,
}

/// What a dataset or job was made of, and what was made of it
#[utoipa::path(
    get, path = "/api/v1/lineage/graph", tag = "lineage", params(GraphQuery),
    responses((status = 200, body = GraphView), (status = 403), (status = 404), (status = 422)),
    extensions(("x-cyto-scope" = json!("lineage:read"))),
)]
async fn graph(
    State(database): State<Database>,
    scope: Scope,
    Query(query): Query<GraphQuery>,
) -> Result<Json<GraphView>, Problem> {
    let node = match (query.node_id, query.dataset) {
        (Some(node), None) => node,
        (None, Some(table)) => NodeName::dataset(format!("iceberg://{}", scope.tenant), table).id(),
        _ => return Err(Error::Node.into()),
    };
    let (walk, rows) = ops::graph(&database, &scope, &node, query.depth.unwrap_or(DEPTH)).await?;
    let edges = walk.by_node();
    let view = |edges: &[&(String, String)]| -> Vec<EdgeView> {
        edges
            .iter()
            .map(|(origin, destination)| EdgeView { origin: origin.clone(), destination: destination.clone() })
            .collect()
    };
    let nodes = rows.into_iter().map(|row| {
        let (ins, outs) = edges.get(row.node.as_str()).map(|(i, o)| (view(i), view(o))).unwrap_or_default();
        NodeView {
            id: row.node,
            kind: row.kind,
            data: NodeData { namespace: row.namespace, name: row.name, latest: row.latest, last_seen: row.last_seen },
            in_edges: ins,
            out_edges: outs,
        }
    });
    Ok(Json(GraphView { graph: nodes.collect(), truncated: walk.truncated }))
}
