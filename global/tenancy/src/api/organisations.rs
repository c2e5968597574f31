//! Organisations.

use axum::extract::{Path, State};
use http::StatusCode;
use kit::fault::Problem;
use kit::http::{Json, Page, PageRequest, Query};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::Tenancy;
use crate::domain::access::Caller;
use crate::ops::organisations;
use crate::store::organisations::Organisation;

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateOrganisation {
    /// 2 to 39 characters of `a-z`, `0-9` and `-`, beginning with a letter.
    #[schema(example = "acme-corp")]
    id: String,
    name: String,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrganisationView {
    id: String,
    name: String,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
}

impl From<Organisation> for OrganisationView {
    fn from(organisation: Organisation) -> Self {
        Self { id: organisation.id, name: organisation.name, created_at: organisation.created_at }
    }
}

/// Create an organisation. The same again answers 200 with what is there.
#[utoipa::path(
    post, path = "/api/v1/organisations", tag = "organisations", request_body = CreateOrganisation,
    responses((status = 201, body = OrganisationView), (status = 200, body = OrganisationView), (status = 401), (status = 403), (status = 409), (status = 422)),
)]
pub async fn create(
    State(tenancy): State<Tenancy>,
    caller: Caller,
    Json(body): Json<CreateOrganisation>,
) -> Result<(StatusCode, Json<OrganisationView>), Problem> {
    let (organisation, new) = organisations::create(&tenancy, &caller, &body.id, &body.name).await?;
    Ok((if new { StatusCode::CREATED } else { StatusCode::OK }, Json(organisation.into())))
}

#[utoipa::path(get, path = "/api/v1/organisations", tag = "organisations", params(PageRequest), responses((status = 200, body = Page<OrganisationView>), (status = 401)))]
pub async fn list(
    State(tenancy): State<Tenancy>,
    caller: Caller,
    Query(page): Query<PageRequest>,
) -> Result<Json<Page<OrganisationView>>, Problem> {
    let (size, after) = (page.size()?, page.after::<String>()?);
    let rows = organisations::list(&tenancy, &caller, after.as_deref(), size as i64 + 1).await?;
    Ok(Json(Page::of(rows, size, |o| o.id.clone()).map(OrganisationView::from)))
}

#[utoipa::path(get, path = "/api/v1/organisations/{organisation}", tag = "organisations", params(("organisation" = String, Path)), responses((status = 200, body = OrganisationView), (status = 401), (status = 404)))]
pub async fn get(
    State(tenancy): State<Tenancy>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<OrganisationView>, Problem> {
    Ok(Json(organisations::find(&tenancy, &caller, &id).await?.into()))
}
