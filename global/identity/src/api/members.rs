//! Members of a tenant.

use axum::extract::{Path, State};
use contracts::TenantId;
use http::StatusCode;
use kit::fault::Problem;
use kit::http::{Json, Page, PageRequest, Query};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use super::id;
use crate::Identity;
use crate::domain::access::Caller;
use crate::error::Error;
use crate::ops::members;
use crate::store::members::Member;

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PutMember {
    /// `*` or the tenant scopes, for example `datasets:read`.
    scopes: Vec<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemberView {
    tenant: String,
    subject: Uuid,
    /// `user` or `service_account`.
    kind: String,
    name: String,
    scopes: Vec<String>,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
}

impl From<Member> for MemberView {
    fn from(member: Member) -> Self {
        Self {
            tenant: member.tenant,
            subject: member.subject,
            kind: member.kind,
            name: member.name,
            scopes: member.scopes,
            created_at: member.created_at,
        }
    }
}

fn tenant_id(text: String) -> Result<TenantId, Error> {
    TenantId::new(text).map_err(|_| Error::NotFound("tenant"))
}

/// Make a subject a member of a tenant, or change its scopes.
#[utoipa::path(
    put, path = "/api/v1/tenants/{tenant}/members/{subject}", tag = "members",
    params(("tenant" = String, Path), ("subject" = Uuid, Path)), request_body = PutMember,
    responses((status = 200, body = MemberView), (status = 401), (status = 404), (status = 422)),
)]
pub async fn put(
    State(identity): State<Identity>,
    caller: Caller,
    Path((tenant, subject)): Path<(String, String)>,
    Json(body): Json<PutMember>,
) -> Result<Json<MemberView>, Problem> {
    let (tenant, subject) = (tenant_id(tenant)?, id(&subject, "account")?);
    Ok(Json(members::put(&identity, &caller, &tenant, subject, body.scopes).await?.into()))
}

#[utoipa::path(
    get, path = "/api/v1/tenants/{tenant}/members", tag = "members", params(("tenant" = String, Path), PageRequest),
    responses((status = 200, body = Page<MemberView>), (status = 401), (status = 404)),
)]
pub async fn list(
    State(identity): State<Identity>,
    caller: Caller,
    Path(tenant): Path<String>,
    Query(page): Query<PageRequest>,
) -> Result<Json<Page<MemberView>>, Problem> {
    let size = page.size()?;
    let rows = members::list(&identity, &caller, &tenant_id(tenant)?, page.after()?, size as i64 + 1).await?;
    Ok(Json(Page::of(rows, size, |m| m.subject).map(MemberView::from)))
}

#[utoipa::path(
    delete, path = "/api/v1/tenants/{tenant}/members/{subject}", tag = "members",
    params(("tenant" = String, Path), ("subject" = Uuid, Path)), responses((status = 204), (status = 401), (status = 404)),
)]
pub async fn remove(
    State(identity): State<Identity>,
    caller: Caller,
    Path((tenant, subject)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    members::remove(&identity, &caller, &tenant_id(tenant)?, id(&subject, "account")?).await?;
    Ok(StatusCode::NO_CONTENT)
}
