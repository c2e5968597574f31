//! Namespaces over HTTP.

use axum::Json;
use axum::extract::{Path, Query, State};
use http::StatusCode;
use kit::http::{Page, PageRequest};
use lakehouse::Namespace;
use serde::{Deserialize, Serialize};

use super::App;
use super::envelope::Refusal;
use super::request::{self, Body, Caller};
use crate::error::Error;
use crate::ops::{PropertiesChange, PropertiesChanged};
use crate::store::Properties;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Below {
    /// Levels separated by `%1F`; the top level when absent.
    parent: Option<String>,
}

#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct NamespaceList {
    #[schema(value_type = Vec<Vec<String>>)]
    namespaces: Vec<Namespace>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

#[derive(Deserialize, utoipa::ToSchema)]
pub struct NewNamespace {
    namespace: Vec<String>,
    #[serde(default)]
    properties: Option<Properties>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct NamespaceView {
    #[schema(value_type = Vec<String>)]
    namespace: Namespace,
    properties: Properties,
}

#[utoipa::path(get, path = "/iceberg/v1/{prefix}/namespaces", tag = "iceberg-catalog", operation_id = "listNamespaces",
    params(("prefix" = String, Path), Below, PageRequest), responses((status = 200, body = NamespaceList)),
    extensions(("x-cyto-scope" = json!("catalog:read"))))]
pub async fn list(
    State(app): State<App>,
    Caller(scope): Caller,
    Path(prefix): Path<String>,
    Query(below): Query<Below>,
    Query(paging): Query<PageRequest>,
) -> Result<Json<NamespaceList>, Refusal> {
    let parent = below.parent.as_deref().filter(|text| !text.is_empty()).map(request::namespace).transpose()?;
    let page = request::page(&paging)?;
    let size = page.as_ref().map(|(_, size)| *size);
    let found = app.namespaces(&scope, &prefix, parent.as_ref(), page).await?;
    let Some(size) = size else { return Ok(Json(NamespaceList { namespaces: found, next_page_token: None })) };
    let page = Page::of(found, size, ToString::to_string);
    Ok(Json(NamespaceList { namespaces: page.data, next_page_token: page.next_page_token }))
}

#[utoipa::path(post, path = "/iceberg/v1/{prefix}/namespaces", tag = "iceberg-catalog", operation_id = "createNamespace",
    params(("prefix" = String, Path)), request_body = NewNamespace, responses((status = 200, body = NamespaceView)),
    extensions(("x-cyto-scope" = json!("catalog:write"))))]
pub async fn create(
    State(app): State<App>,
    Caller(scope): Caller,
    Path(prefix): Path<String>,
    body: Body<NewNamespace>,
) -> Result<Json<NamespaceView>, Refusal> {
    let namespace = Namespace::new(body.value.namespace).map_err(|error| Error::Invalid(error.to_string()))?;
    let properties = body.value.properties.unwrap_or_default();
    app.create_namespace(&scope, &prefix, &namespace, &properties).await?;
    Ok(Json(NamespaceView { namespace, properties }))
}

#[utoipa::path(get, path = "/iceberg/v1/{prefix}/namespaces/{namespace}", tag = "iceberg-catalog", operation_id = "loadNamespace",
    params(("prefix" = String, Path), ("namespace" = String, Path)), responses((status = 200, body = NamespaceView)),
    extensions(("x-cyto-scope" = json!("catalog:read"))))]
pub async fn load(
    State(app): State<App>,
    Caller(scope): Caller,
    Path((prefix, namespace)): Path<(String, String)>,
) -> Result<Json<NamespaceView>, Refusal> {
    let namespace = request::namespace(&namespace)?;
    let properties = app.namespace(&scope, &prefix, &namespace).await?;
    Ok(Json(NamespaceView { namespace, properties }))
}

#[utoipa::path(head, path = "/iceberg/v1/{prefix}/namespaces/{namespace}", tag = "iceberg-catalog", operation_id = "namespaceExists",
    params(("prefix" = String, Path), ("namespace" = String, Path)), responses((status = 204)),
    extensions(("x-cyto-scope" = json!("catalog:read"))))]
pub async fn exists(
    State(app): State<App>,
    Caller(scope): Caller,
    Path((prefix, namespace)): Path<(String, String)>,
) -> Result<StatusCode, Refusal> {
    app.namespace(&scope, &prefix, &request::namespace(&namespace)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[utoipa::path(delete, path = "/iceberg/v1/{prefix}/namespaces/{namespace}", tag = "iceberg-catalog", operation_id = "dropNamespace",
    params(("prefix" = String, Path), ("namespace" = String, Path)), responses((status = 204)),
    extensions(("x-cyto-scope" = json!("catalog:write"))))]
pub async fn drop(
    State(app): State<App>,
    Caller(scope): Caller,
    Path((prefix, namespace)): Path<(String, String)>,
) -> Result<StatusCode, Refusal> {
    app.drop_namespace(&scope, &prefix, &request::namespace(&namespace)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[utoipa::path(post, path = "/iceberg/v1/{prefix}/namespaces/{namespace}/properties", tag = "iceberg-catalog", operation_id = "updateNamespaceProperties",
    params(("prefix" = String, Path), ("namespace" = String, Path)), request_body = Object, responses((status = 200, body = PropertiesChanged)),
    extensions(("x-cyto-scope" = json!("catalog:write"))))]
pub async fn update(
    State(app): State<App>,
    Caller(scope): Caller,
    Path((prefix, namespace)): Path<(String, String)>,
    body: Body<PropertiesChange>,
) -> Result<Json<PropertiesChanged>, Refusal> {
    Ok(Json(app.change_properties(&scope, &prefix, &request::namespace(&namespace)?, body.value).await?))
}
