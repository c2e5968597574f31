//! Commits over HTTP.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::App;
use super::envelope::Refusal;
use super::request::{self, Body, Caller};
use crate::domain::alias::master_is_main;
use crate::domain::commit::Change;
use crate::error::Error;
use crate::ops::NamedChange;

/// Says that a branch was addressed by its other name.
const ALIAS: HeaderName = HeaderName::from_static("branch-alias");

#[derive(serde::Serialize)]
#[serde(rename_all = "kebab-case")]
struct CommitView<'a> {
    metadata_location: &'a str,
    metadata: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CommitMany {
    table_changes: Vec<Change>,
}

fn aliased(mut response: Response, renamed: bool) -> Response {
    if renamed {
        response.headers_mut().insert(ALIAS, HeaderValue::from_static("master=main"));
    }
    response
}

#[utoipa::path(post, path = "/iceberg/v1/{prefix}/namespaces/{namespace}/tables/{table}", tag = "iceberg-catalog", operation_id = "commitTable",
    params(("prefix" = String, Path), ("namespace" = String, Path), ("table" = String, Path)), request_body = Object,
    responses((status = 200, body = Object), (status = 409)),
    extensions(("x-cyto-scope" = json!("catalog:write"))))]
pub async fn commit_table(
    State(app): State<App>,
    Caller(scope): Caller,
    Path((prefix, namespace, table)): Path<(String, String, String)>,
    headers: HeaderMap,
    body: Body<Change>,
) -> Result<Response, Refusal> {
    let name = request::table(&namespace, &table)?;
    let key = body.key(&headers, &format!("commit {prefix}/{name}"))?;
    let mut change = body.value;
    if change.identifier.as_ref().is_some_and(|said| *said != name) {
        return Err(Error::Invalid("the body names another table than the path".to_owned()).into());
    }
    let renamed = master_is_main(&mut change.requirements, &mut change.updates);
    let files = app.commit(&scope, &prefix, &[NamedChange { name, change }], key.as_ref()).await?;
    let file = files.first().ok_or(Error::Damaged("an answer without its table"))?;
    let response = Json(CommitView { metadata_location: &file.location, metadata: &file.json }).into_response();
    Ok(aliased(response, renamed))
}

#[utoipa::path(post, path = "/iceberg/v1/{prefix}/transactions/commit", tag = "iceberg-catalog", operation_id = "commitTransaction",
    params(("prefix" = String, Path)), request_body = Object, responses((status = 204), (status = 409)),
    extensions(("x-cyto-scope" = json!("catalog:write"))))]
pub async fn commit_many(
    State(app): State<App>,
    Caller(scope): Caller,
    Path(prefix): Path<String>,
    headers: HeaderMap,
    body: Body<CommitMany>,
) -> Result<Response, Refusal> {
    let key = body.key(&headers, &format!("commit {prefix}"))?;
    let mut renamed = false;
    let mut changes = Vec::with_capacity(body.value.table_changes.len());
    for mut change in body.value.table_changes {
        renamed |= master_is_main(&mut change.requirements, &mut change.updates);
        let name = change
            .identifier
            .clone()
            .ok_or_else(|| Error::Invalid("every change of a transaction names its table".to_owned()))?;
        changes.push(NamedChange { name, change });
    }
    app.allow(&scope, &prefix, crate::ops::Need::Write, "catalog.transaction.commit", "transactions").await?;
    app.commit(&scope, &prefix, &changes, key.as_ref()).await?;
    let response = (StatusCode::NO_CONTENT, [(header::CACHE_CONTROL, "no-store")]).into_response();
    Ok(aliased(response, renamed))
}
