//! API keys.

use axum::extract::{Path, State};
use contracts::TenantId;
use http::StatusCode;
use kit::fault::Problem;
use kit::http::{Json, Page, PageRequest, Query};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::id;
use crate::Identity;
use crate::domain::access::Caller;
use crate::ops::api_keys::{self, NewKey};
use crate::store::api_keys::ApiKey;

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiKeyView {
    id: Uuid,
    subject: Uuid,
    name: String,
    /// Enough of the key to recognise it.
    prefix: String,
    /// Null: every tenant the subject is a member of.
    tenant: Option<String>,
    /// Null: everything the subject holds.
    scopes: Option<Vec<String>>,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    expires_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    last_used_at: Option<OffsetDateTime>,
}

impl From<ApiKey> for ApiKeyView {
    fn from(key: ApiKey) -> Self {
        Self {
            id: key.id,
            subject: key.subject,
            name: key.name,
            prefix: key.prefix,
            tenant: key.tenant,
            scopes: key.scopes,
            created_at: key.created_at,
            expires_at: key.expires_at,
            last_used_at: key.last_used_at,
        }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateApiKey {
    /// Oneself when absent.
    subject: Option<Uuid>,
    name: String,
    tenant: Option<TenantId>,
    scopes: Option<Vec<String>>,
    /// 90 when absent.
    expires_in_days: Option<i64>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiKeyCreated {
    #[serde(flatten)]
    key: ApiKeyView,
    /// Shown only here. Exchanged for tokens as `client_secret`, with the subject as `client_id`; a key of one tenant is
    /// good as a bearer token itself too.
    secret: String,
}

#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// Oneself when absent.
    subject: Option<Uuid>,
    page_size: Option<u32>,
    page_token: Option<String>,
}

/// Create an API key; its secret is in this answer and nowhere else.
#[utoipa::path(
    post, path = "/api/v1/api-keys", tag = "API keys", request_body = CreateApiKey,
    responses((status = 201, body = ApiKeyCreated), (status = 401), (status = 404), (status = 422)),
)]
pub async fn create(
    State(identity): State<Identity>,
    caller: Caller,
    Json(body): Json<CreateApiKey>,
) -> Result<(StatusCode, Json<ApiKeyCreated>), Problem> {
    let new = NewKey {
        subject: body.subject.unwrap_or(caller.subject),
        name: body.name,
        tenant: body.tenant,
        scopes: body.scopes,
        days: body.expires_in_days,
    };
    let (key, secret) = api_keys::create(&identity, &caller, new).await?;
    Ok((StatusCode::CREATED, Json(ApiKeyCreated { key: key.into(), secret })))
}

#[utoipa::path(get, path = "/api/v1/api-keys", tag = "API keys", params(ListQuery), responses((status = 200, body = Page<ApiKeyView>), (status = 401), (status = 404)))]
pub async fn list(
    State(identity): State<Identity>,
    caller: Caller,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<ApiKeyView>>, Problem> {
    let page = PageRequest { page_size: query.page_size, page_token: query.page_token };
    let (size, subject) = (page.size()?, query.subject.unwrap_or(caller.subject));
    let rows = api_keys::list(&identity, &caller, subject, page.after()?, size as i64 + 1).await?;
    Ok(Json(Page::of(rows, size, |k| k.id).map(ApiKeyView::from)))
}

/// Revoke a key and every token minted from it.
#[utoipa::path(delete, path = "/api/v1/api-keys/{id}", tag = "API keys", params(("id" = Uuid, Path)), responses((status = 204), (status = 401), (status = 404)))]
pub async fn revoke(
    State(identity): State<Identity>,
    caller: Caller,
    Path(text): Path<String>,
) -> Result<StatusCode, Problem> {
    api_keys::revoke(&identity, &caller, id(&text, "API key")?).await?;
    Ok(StatusCode::NO_CONTENT)
}
