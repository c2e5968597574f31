//! Tables over HTTP.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use kit::Scope;
use kit::http::{Page, PageRequest};
use lakehouse::TableName;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::App;
use super::envelope::Refusal;
use super::request::{self, Body, Caller};
use crate::domain::creation::NewTable;
use crate::domain::view::{Snapshots, keep_referenced};
use crate::error::{Error, Result};
use crate::ops::{Delegation, Loaded, MetadataFile, Need};

#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct TableList {
    #[schema(value_type = Vec<Object>)]
    identifiers: Vec<TableName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct StorageCredential {
    /// Locations the credentials are good for begin with it.
    prefix: String,
    config: BTreeMap<String, String>,
}

#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct StorageCredentials {
    storage_credentials: Vec<StorageCredential>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct LoadedView<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata_location: Option<&'a str>,
    metadata: &'a RawValue,
    config: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    storage_credentials: Vec<StorageCredential>,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LoadOptions {
    /// `all` (default) or `refs`: only snapshots a branch or tag points at.
    snapshots: Option<String>,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct DropOptions {
    /// Whether the table's files are deleted too.
    #[serde(default)]
    purge_requested: Option<String>,
}

#[derive(Deserialize, utoipa::ToSchema)]
pub struct Rename {
    #[schema(value_type = Object)]
    source: TableName,
    #[schema(value_type = Object)]
    destination: TableName,
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Register {
    name: String,
    metadata_location: String,
    #[serde(default)]
    overwrite: bool,
}

fn delegation(headers: &HeaderMap) -> Delegation {
    Delegation::parse(headers.get("x-iceberg-access-delegation").and_then(|value| value.to_str().ok()))
}

/// Changes whenever the answer would: with the metadata, the snapshots shown and the kind of credentials.
fn etag(pointer: &str, snapshots: Snapshots, delegation: Delegation) -> String {
    let hash = blake3::hash(format!("{pointer}\n{}\n{delegation:?}", snapshots.name()).as_bytes());
    format!("\"{}\"", hash.to_hex())
}

async fn shown(
    app: &App,
    scope: &Scope,
    loaded: &Loaded,
    snapshots: Snapshots,
    delegation: Delegation,
) -> Result<Response> {
    let MetadataFile { location, metadata, json } = &*loaded.file;
    let referenced;
    let text = if snapshots == Snapshots::Refs && metadata.snapshots().len() > 1 {
        let mut value = serde_json::from_str(json.get())?;
        keep_referenced(&mut value);
        referenced = serde_json::value::to_raw_value(&value)?;
        &referenced
    } else {
        json
    };
    let vended = app.delegated(scope, delegation).await?;
    let storage_credentials = vended
        .iter()
        .map(|config| StorageCredential { prefix: app.credential_prefix(scope), config: config.clone() })
        .collect();
    let view = LoadedView {
        metadata_location: loaded.stored.then_some(location.as_str()),
        metadata: text,
        config: vended.unwrap_or_else(|| app.client_config()),
        storage_credentials,
    };
    let mut response = Json(view).into_response();
    // Credentials expire; a copy that holds some must not outlive them in a cache that nobody asked.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    if loaded.stored
        && let Ok(tag) = HeaderValue::from_str(&etag(location, snapshots, delegation))
    {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(response)
}

#[utoipa::path(get, path = "/iceberg/v1/{prefix}/namespaces/{namespace}/tables", tag = "iceberg-catalog", operation_id = "listTables",
    params(("prefix" = String, Path), ("namespace" = String, Path), PageRequest), responses((status = 200, body = TableList)),
    extensions(("x-cyto-scope" = json!("catalog:read"))))]
pub async fn list(
    State(app): State<App>,
    Caller(scope): Caller,
    Path((prefix, namespace)): Path<(String, String)>,
    Query(paging): Query<PageRequest>,
) -> Result<Json<TableList>, Refusal> {
    let page = request::page(&paging)?;
    let size = page.as_ref().map(|(_, size)| *size);
    let identifiers = app.tables(&scope, &prefix, &request::namespace(&namespace)?, page).await?;
    let Some(size) = size else { return Ok(Json(TableList { identifiers, next_page_token: None })) };
    let page = Page::of(identifiers, size, |name| name.name().to_owned());
    Ok(Json(TableList { identifiers: page.data, next_page_token: page.next_page_token }))
}

#[utoipa::path(post, path = "/iceberg/v1/{prefix}/namespaces/{namespace}/tables", tag = "iceberg-catalog", operation_id = "createTable",
    params(("prefix" = String, Path), ("namespace" = String, Path)), request_body = Object, responses((status = 200, body = Object)),
    extensions(("x-cyto-scope" = json!("catalog:write"))))]
pub async fn create(
    State(app): State<App>,
    Caller(scope): Caller,
    Path((prefix, namespace)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body<NewTable>,
) -> Result<Response, Refusal> {
    let key = body.key(&headers, &format!("create {prefix}/{namespace}"))?;
    let loaded = app.create_table(&scope, &prefix, &request::namespace(&namespace)?, body.value, key).await?;
    Ok(shown(&app, &scope, &loaded, Snapshots::All, delegation(&headers)).await?)
}

#[utoipa::path(get, path = "/iceberg/v1/{prefix}/namespaces/{namespace}/tables/{table}", tag = "iceberg-catalog", operation_id = "loadTable",
    params(("prefix" = String, Path), ("namespace" = String, Path), ("table" = String, Path), LoadOptions),
    responses((status = 200, body = Object), (status = 304)),
    extensions(("x-cyto-scope" = json!("catalog:read"))))]
pub async fn load(
    State(app): State<App>,
    Caller(scope): Caller,
    Path((prefix, namespace, table)): Path<(String, String, String)>,
    Query(options): Query<LoadOptions>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let snapshots = Snapshots::parse(options.snapshots.as_deref())?;
    let pointer = app.pointer(&scope, &prefix, &request::table(&namespace, &table)?).await?;
    let delegation = delegation(&headers);
    let tag = etag(&pointer, snapshots, delegation);
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    if known.is_some_and(|list| list.split(',').any(|one| one.trim().trim_start_matches("W/") == tag)) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    let loaded = app.at(&scope, &pointer).await?;
    Ok(shown(&app, &scope, &loaded, snapshots, delegation).await?)
}

#[utoipa::path(head, path = "/iceberg/v1/{prefix}/namespaces/{namespace}/tables/{table}", tag = "iceberg-catalog", operation_id = "tableExists",
    params(("prefix" = String, Path), ("namespace" = String, Path), ("table" = String, Path)), responses((status = 204)),
    extensions(("x-cyto-scope" = json!("catalog:read"))))]
pub async fn exists(
    State(app): State<App>,
    Caller(scope): Caller,
    Path((prefix, namespace, table)): Path<(String, String, String)>,
) -> Result<StatusCode, Refusal> {
    app.table_exists(&scope, &prefix, &request::table(&namespace, &table)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[utoipa::path(delete, path = "/iceberg/v1/{prefix}/namespaces/{namespace}/tables/{table}", tag = "iceberg-catalog", operation_id = "dropTable",
    params(("prefix" = String, Path), ("namespace" = String, Path), ("table" = String, Path), DropOptions), responses((status = 204)),
    extensions(("x-cyto-scope" = json!("catalog:write"))))]
pub async fn drop(
    State(app): State<App>,
    Caller(scope): Caller,
    Path((prefix, namespace, table)): Path<(String, String, String)>,
    Query(options): Query<DropOptions>,
) -> Result<StatusCode, Refusal> {
    // Clients spell it `true` and `True`.
    let purge = match options.purge_requested.as_deref().map(str::to_ascii_lowercase).as_deref() {
        None | Some("" | "false") => false,
        Some("true") => true,
        Some(_) => return Err(Error::Invalid("purgeRequested is true or false".to_owned()).into()),
    };
    app.drop_table(&scope, &prefix, &request::table(&namespace, &table)?, purge).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[utoipa::path(post, path = "/iceberg/v1/{prefix}/tables/rename", tag = "iceberg-catalog", operation_id = "renameTable",
    params(("prefix" = String, Path)), request_body = Rename, responses((status = 204)),
    extensions(("x-cyto-scope" = json!("catalog:write"))))]
pub async fn rename(
    State(app): State<App>,
    Caller(scope): Caller,
    Path(prefix): Path<String>,
    body: Body<Rename>,
) -> Result<StatusCode, Refusal> {
    app.rename(&scope, &prefix, &body.value.source, &body.value.destination).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[utoipa::path(post, path = "/iceberg/v1/{prefix}/namespaces/{namespace}/register", tag = "iceberg-catalog", operation_id = "registerTable",
    params(("prefix" = String, Path), ("namespace" = String, Path)), request_body = Register, responses((status = 200, body = Object)),
    extensions(("x-cyto-scope" = json!("catalog:write"))))]
pub async fn register(
    State(app): State<App>,
    Caller(scope): Caller,
    Path((prefix, namespace)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body<Register>,
) -> Result<Response, Refusal> {
    let Register { name, metadata_location, overwrite } = body.value;
    let name =
        TableName::new(request::namespace(&namespace)?, name).map_err(|error| Error::Invalid(error.to_string()))?;
    let loaded = app.register(&scope, &prefix, &name, &metadata_location, overwrite).await?;
    Ok(shown(&app, &scope, &loaded, Snapshots::All, delegation(&headers)).await?)
}

#[utoipa::path(get, path = "/iceberg/v1/{prefix}/namespaces/{namespace}/tables/{table}/credentials", tag = "iceberg-catalog", operation_id = "loadCredentials",
    params(("prefix" = String, Path), ("namespace" = String, Path), ("table" = String, Path)), responses((status = 200, body = StorageCredentials)),
    extensions(("x-cyto-scope" = json!("catalog:read"))))]
pub async fn credentials(
    State(app): State<App>,
    Caller(scope): Caller,
    Path((prefix, namespace, table)): Path<(String, String, String)>,
) -> Result<Json<StorageCredentials>, Refusal> {
    let vended = app.table_credentials(&scope, &prefix, &request::table(&namespace, &table)?).await?;
    let storage_credentials =
        vended.into_iter().map(|config| StorageCredential { prefix: app.credential_prefix(&scope), config }).collect();
    Ok(Json(StorageCredentials { storage_credentials }))
}

#[utoipa::path(post, path = "/iceberg/v1/{prefix}/namespaces/{namespace}/tables/{table}/metrics", tag = "iceberg-catalog", operation_id = "reportMetrics",
    params(("prefix" = String, Path), ("namespace" = String, Path), ("table" = String, Path)), request_body = Object, responses((status = 204)),
    extensions(("x-cyto-scope" = json!("catalog:read"))))]
pub async fn report(
    State(app): State<App>,
    Caller(scope): Caller,
    Path((prefix, namespace, table)): Path<(String, String, String)>,
    body: Body<Box<RawValue>>,
) -> Result<StatusCode, Refusal> {
    let name = request::table(&namespace, &table)?;
    app.allow(&scope, &prefix, Need::Read, "catalog.metrics.report", &name.to_string()).await?;
    tracing::debug!(table = %name, tenant = %scope.tenant, bytes = body.value.get().len(), "a client reported metrics");
    app.count_report();
    Ok(StatusCode::NO_CONTENT)
}
