//! Users and service accounts.

use axum::extract::{Path, State};
use http::StatusCode;
use kit::fault::Problem;
use kit::http::{Json, Page, PageRequest, Query};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use super::id;
use crate::Identity;
use crate::domain::access::{Caller, Role, State as AccountState, SubjectKind};
use crate::error::Error;
use crate::ops::accounts::{self, Edit, NewUser};
use crate::store::subjects::Subject;

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountView {
    id: Uuid,
    /// Absent on a service account.
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    name: String,
    /// Null for the platform's own accounts.
    organisation: Option<String>,
    role: Role,
    state: AccountState,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
}

impl TryFrom<Subject> for AccountView {
    type Error = Error;
    fn try_from(subject: Subject) -> Result<Self, Error> {
        Ok(Self {
            id: subject.id,
            role: subject.role()?,
            state: subject.state(),
            email: subject.email,
            name: subject.name,
            organisation: subject.organisation,
            created_at: subject.created_at,
        })
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateUser {
    email: String,
    name: String,
    /// 12 to 128 characters.
    password: String,
    /// The caller's own when absent.
    organisation: Option<String>,
    /// `member` when absent.
    role: Option<Role>,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateServiceAccount {
    name: String,
    organisation: Option<String>,
    role: Option<Role>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAccountCreated {
    #[serde(flatten)]
    account: AccountView,
    client_id: String,
    /// Shown only here.
    client_secret: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EditAccount {
    name: Option<String>,
    role: Option<Role>,
    state: Option<AccountState>,
    password: Option<String>,
}

async fn page_of(
    identity: &Identity,
    caller: &Caller,
    kind: SubjectKind,
    page: &PageRequest,
) -> Result<Json<Page<AccountView>>, Problem> {
    let size = page.size()?;
    let rows = accounts::list(identity, caller, kind, page.after()?, size as i64 + 1).await?;
    let page = Page::of(rows, size, |s| s.id);
    let data = page.data.into_iter().map(AccountView::try_from).collect::<Result<_, _>>()?;
    Ok(Json(Page { data, next_page_token: page.next_page_token }))
}

async fn edit(
    identity: &Identity,
    caller: &Caller,
    kind: SubjectKind,
    text: &str,
    body: EditAccount,
) -> Result<Json<AccountView>, Problem> {
    let change = Edit { name: body.name, role: body.role, state: body.state, password: body.password };
    let subject = accounts::edit(identity, caller, kind, id(text, "account")?, change).await?;
    Ok(Json(subject.try_into()?))
}

/// Create a user.
#[utoipa::path(
    post, path = "/api/v1/users", tag = "accounts", request_body = CreateUser,
    responses((status = 201, body = AccountView), (status = 401), (status = 403), (status = 409), (status = 422)),
)]
pub async fn create_user(
    State(identity): State<Identity>,
    caller: Caller,
    Json(body): Json<CreateUser>,
) -> Result<(StatusCode, Json<AccountView>), Problem> {
    let new = NewUser {
        email: body.email,
        name: body.name,
        password: body.password,
        organisation: body.organisation.or_else(|| caller.organisation.clone()),
        role: body.role.unwrap_or(Role::Member),
    };
    let subject = accounts::create_user(&identity, &caller, new).await?;
    Ok((StatusCode::CREATED, Json(subject.try_into()?)))
}

/// Users of one's organisation; all of them for the platform's administrators.
#[utoipa::path(get, path = "/api/v1/users", tag = "accounts", params(PageRequest), responses((status = 200, body = Page<AccountView>), (status = 401), (status = 403)))]
pub async fn list_users(
    State(identity): State<Identity>,
    caller: Caller,
    Query(page): Query<PageRequest>,
) -> Result<Json<Page<AccountView>>, Problem> {
    page_of(&identity, &caller, SubjectKind::User, &page).await
}

#[utoipa::path(get, path = "/api/v1/users/{id}", tag = "accounts", params(("id" = Uuid, Path)), responses((status = 200, body = AccountView), (status = 401), (status = 404)))]
pub async fn get_user(
    State(identity): State<Identity>,
    caller: Caller,
    Path(text): Path<String>,
) -> Result<Json<AccountView>, Problem> {
    let subject = accounts::find(&identity, &caller, SubjectKind::User, id(&text, "account")?).await?;
    Ok(Json(subject.try_into()?))
}

/// Change a user. A new role, state or password ends the user's sessions.
#[utoipa::path(
    patch, path = "/api/v1/users/{id}", tag = "accounts", params(("id" = Uuid, Path)), request_body = EditAccount,
    responses((status = 200, body = AccountView), (status = 401), (status = 403), (status = 404), (status = 412), (status = 422)),
)]
pub async fn edit_user(
    State(identity): State<Identity>,
    caller: Caller,
    Path(text): Path<String>,
    Json(body): Json<EditAccount>,
) -> Result<Json<AccountView>, Problem> {
    edit(&identity, &caller, SubjectKind::User, &text, body).await
}

#[utoipa::path(delete, path = "/api/v1/users/{id}", tag = "accounts", params(("id" = Uuid, Path)), responses((status = 204), (status = 401), (status = 404), (status = 412)))]
pub async fn delete_user(
    State(identity): State<Identity>,
    caller: Caller,
    Path(text): Path<String>,
) -> Result<StatusCode, Problem> {
    accounts::delete(&identity, &caller, SubjectKind::User, id(&text, "account")?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Create a service account; its secret is in this answer and nowhere else.
#[utoipa::path(
    post, path = "/api/v1/service-accounts", tag = "accounts", request_body = CreateServiceAccount,
    responses((status = 201, body = ServiceAccountCreated), (status = 401), (status = 403), (status = 422)),
)]
pub async fn create_service_account(
    State(identity): State<Identity>,
    caller: Caller,
    Json(body): Json<CreateServiceAccount>,
) -> Result<(StatusCode, Json<ServiceAccountCreated>), Problem> {
    let organisation = body.organisation.or_else(|| caller.organisation.clone());
    let role = body.role.unwrap_or(Role::Member);
    let (subject, client_secret) =
        accounts::create_service_account(&identity, &caller, &body.name, organisation, role).await?;
    let client_id = subject.id.to_string();
    Ok((StatusCode::CREATED, Json(ServiceAccountCreated { account: subject.try_into()?, client_id, client_secret })))
}

#[utoipa::path(get, path = "/api/v1/service-accounts", tag = "accounts", params(PageRequest), responses((status = 200, body = Page<AccountView>), (status = 401), (status = 403)))]
pub async fn list_service_accounts(
    State(identity): State<Identity>,
    caller: Caller,
    Query(page): Query<PageRequest>,
) -> Result<Json<Page<AccountView>>, Problem> {
    page_of(&identity, &caller, SubjectKind::ServiceAccount, &page).await
}

#[utoipa::path(get, path = "/api/v1/service-accounts/{id}", tag = "accounts", params(("id" = Uuid, Path)), responses((status = 200, body = AccountView), (status = 401), (status = 404)))]
pub async fn get_service_account(
    State(identity): State<Identity>,
    caller: Caller,
    Path(text): Path<String>,
) -> Result<Json<AccountView>, Problem> {
    let subject = accounts::find(&identity, &caller, SubjectKind::ServiceAccount, id(&text, "account")?).await?;
    Ok(Json(subject.try_into()?))
}

#[utoipa::path(
    patch, path = "/api/v1/service-accounts/{id}", tag = "accounts", params(("id" = Uuid, Path)), request_body = EditAccount,
    responses((status = 200, body = AccountView), (status = 401), (status = 403), (status = 404), (status = 412), (status = 422)),
)]
pub async fn edit_service_account(
    State(identity): State<Identity>,
    caller: Caller,
    Path(text): Path<String>,
    Json(body): Json<EditAccount>,
) -> Result<Json<AccountView>, Problem> {
    edit(&identity, &caller, SubjectKind::ServiceAccount, &text, body).await
}

#[utoipa::path(delete, path = "/api/v1/service-accounts/{id}", tag = "accounts", params(("id" = Uuid, Path)), responses((status = 204), (status = 401), (status = 404), (status = 412)))]
pub async fn delete_service_account(
    State(identity): State<Identity>,
    caller: Caller,
    Path(text): Path<String>,
) -> Result<StatusCode, Problem> {
    accounts::delete(&identity, &caller, SubjectKind::ServiceAccount, id(&text, "account")?).await?;
    Ok(StatusCode::NO_CONTENT)
}
