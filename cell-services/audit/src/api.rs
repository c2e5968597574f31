//! HTTP: parse, call a use case, show the result.

use axum::extract::State;
use kit::database::Database;
use kit::http::{Json, Page, PageRequest, Query};
use kit::{Problem, Scope};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::domain::{Filter, Link};
use crate::error::Error;
use crate::ops;

pub fn routes() -> OpenApiRouter<Database> {
    OpenApiRouter::new().routes(routes!(entries)).routes(routes!(verify))
}

pub fn describe() -> utoipa::openapi::OpenApi {
    routes().into_openapi()
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct EntriesQuery {
    /// Entries at or after this moment (RFC 3339).
    pub from: Option<String>,
    /// Entries before this moment.
    pub to: Option<String>,
    /// `user:<sub>` or `service:<name>`.
    pub actor: Option<String>,
    /// For example `http.request`.
    pub action: Option<String>,
    /// `allowed`, `denied` or `failed`.
    pub outcome: Option<String>,
    pub request_id: Option<String>,
}

impl EntriesQuery {
    fn filter(self) -> Result<Filter, Error> {
        let moment = |text: Option<String>, name| {
            text.map(|text| OffsetDateTime::parse(&text, &Rfc3339).map_err(|_| Error::Moment(name))).transpose()
        };
        Ok(Filter {
            from: moment(self.from, "from")?,
            to: moment(self.to, "to")?,
            actor: self.actor,
            action: self.action,
            outcome: self.outcome,
            request_id: self.request_id,
        })
    }
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EntryView {
    /// Place in the tenant's chain; begins at 1, without gaps.
    pub seq: u64,
    pub id: Uuid,
    #[serde(with = "time::serde::rfc3339")]
    pub occurred_at: OffsetDateTime,
    pub request_id: String,
    pub actor: String,
    pub action: String,
    pub resource: String,
    pub outcome: String,
    pub status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub detail: Option<serde_json::Value>,
    /// SHA-256 in hex of the entry before.
    pub prev_hash: String,
    /// SHA-256 in hex of this entry and the one before.
    pub hash: String,
}

impl From<Link> for EntryView {
    fn from(link: Link) -> Self {
        let entry = link.entry;
        Self {
            seq: entry.seq,
            id: entry.event_id,
            occurred_at: entry.occurred_at,
            request_id: entry.request_id,
            actor: entry.actor,
            action: entry.action,
            resource: entry.resource,
            outcome: entry.outcome,
            status: entry.status,
            detail: entry.detail,
            prev_hash: hex(&link.prev_hash),
            hash: hex(&link.hash),
        }
    }
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VerifyView {
    pub intact: bool,
    /// Entries that hold, from the first.
    pub entries: u64,
    /// Hash of the last entry that holds.
    pub head: String,
    /// First place where the chain does not hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broken_at: Option<u64>,
}

/// What was done and what was refused in this tenant, newest first
#[utoipa::path(
    get, path = "/api/v1/audit/entries", tag = "audit", params(EntriesQuery, PageRequest),
    responses((status = 200, body = Page<EntryView>), (status = 403), (status = 422)),
    extensions(("x-cyto-scope" = json!("audit:read"))),
)]
async fn entries(
    State(database): State<Database>,
    scope: Scope,
    Query(query): Query<EntriesQuery>,
    Query(page): Query<PageRequest>,
) -> Result<Json<Page<EntryView>>, Problem> {
    let page = ops::entries(&database, &scope, &query.filter()?, &page).await?;
    Ok(Json(page.map(EntryView::from)))
}

/// Walk the chain of this tenant's entries and say whether it holds
#[utoipa::path(
    get, path = "/api/v1/audit/verify", tag = "audit",
    responses((status = 200, body = VerifyView), (status = 403)),
    extensions(("x-cyto-scope" = json!("audit:read"))),
)]
async fn verify(State(database): State<Database>, scope: Scope) -> Result<Json<VerifyView>, Problem> {
    let walk = ops::verify(&database, &scope).await?;
    let view = VerifyView {
        intact: walk.broken_at.is_none(),
        entries: walk.entries,
        head: hex(&walk.head),
        broken_at: walk.broken_at,
    };
    Ok(Json(view))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
