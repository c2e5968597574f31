//! Sessions of people: signing in with a password, listing, signing out.

use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;
use kit::fault::Problem;
use kit::http::{Json, Page, PageRequest, Query};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::oauth::{TokenResponse, no_store, wanted};
use super::{Address, id};
use crate::Identity;
use crate::domain::access::Caller;
use crate::ops::{sessions, tokens};
use crate::store::sessions::Session;

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignIn {
    email: String,
    password: String,
    /// Tenant to act in; without one the token is for the global plane.
    tenant: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionView {
    sid: String,
    /// `password`, `device` or `key`.
    kind: String,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    expires_at: OffsetDateTime,
    /// Whether the request itself belongs to it.
    current: bool,
}

/// Sign in with e-mail and password.
#[utoipa::path(
    post, path = "/api/v1/sessions", tag = "sign-in", request_body = SignIn,
    responses((status = 201, body = TokenResponse), (status = 401), (status = 422), (status = 429)),
)]
pub async fn sign_in(
    State(identity): State<Identity>,
    Address(address): Address,
    Json(request): Json<SignIn>,
) -> Result<Response, Problem> {
    let wanted = wanted(request.tenant.as_deref(), None)?;
    let grant = tokens::by_password(&identity, &request.email, request.password, &wanted, &address).await?;
    Ok(no_store(StatusCode::CREATED, TokenResponse::from(grant)))
}

/// One's own sessions.
#[utoipa::path(get, path = "/api/v1/sessions", tag = "sign-in", params(PageRequest), responses((status = 200, body = Page<SessionView>), (status = 401)))]
pub async fn list(
    State(identity): State<Identity>,
    caller: Caller,
    Query(page): Query<PageRequest>,
) -> Result<Json<Page<SessionView>>, Problem> {
    let size = page.size()?;
    let rows = sessions::list(&identity, &caller, page.after()?, size as i64 + 1).await?;
    let view = |s: Session| SessionView {
        current: s.sid == caller.sid,
        sid: s.sid.to_string(),
        kind: s.kind,
        created_at: s.created_at,
        expires_at: s.expires_at,
    };
    Ok(Json(Page::of(rows, size, |s| s.sid).map(view)))
}

/// Sign out: `current`, or a session by its id.
#[utoipa::path(delete, path = "/api/v1/sessions/{sid}", tag = "sign-in", params(("sid" = String, Path)), responses((status = 204), (status = 401), (status = 404)))]
pub async fn end(
    State(identity): State<Identity>,
    caller: Caller,
    Path(sid): Path<String>,
) -> Result<StatusCode, Problem> {
    let sid = if sid == "current" { caller.sid } else { id(&sid, "session")? };
    sessions::end(&identity, &caller, sid).await?;
    Ok(StatusCode::NO_CONTENT)
}
