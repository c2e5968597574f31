//! `/api/v1/streams/{stream}/records`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use kit::http::{Json, Query, idempotency};
use kit::{Problem, Scope};
use serde::Deserialize;

use crate::domain::outcome::BatchOutcome;
use crate::error::Error;
use crate::ops::App;
use crate::ops::records::{Arrival, OnError, take};
use crate::ops::rows::Form;

#[derive(Debug, Default, Clone, Copy, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnErrorParameter {
    #[default]
    Skip,
    Abort,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct PushQuery {
    /// `skip` leaves bad rows out; `abort` stops at the first one, with the rows before it in.
    #[serde(default)]
    #[param(inline)]
    pub on_error: OnErrorParameter,
}

/// Push rows
///
/// Answered after every in-sync replica has every accepted row. With an Idempotency-Key a repeat
/// of a batch that was answered is answered the same way and sends nothing.
#[utoipa::path(
    post, path = "/api/v1/streams/{stream}/records", tag = "records",
    params(("stream" = String, Path, description = "Id or name"), PushQuery,
           ("idempotency-key" = Option<String>, Header, description = "1 to 128 visible characters")),
    request_body(content = String, content_type = "application/x-ndjson"),
    responses((status = 200, body = BatchOutcome), (status = 403), (status = 404), (status = 409), (status = 422), (status = 503)),
    extensions(("x-cyto-scope" = json!("streams:write"))),
)]
pub async fn push(
    State(app): State<Arc<App>>,
    scope: Scope,
    Path(reference): Path<String>,
    Query(query): Query<PushQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let form = Form::of(headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()))?;
    let idempotency_key = idempotency::key(&headers).map_err(Error::from)?.map(str::to_owned);
    let on_error = match query.on_error {
        OnErrorParameter::Skip => OnError::Skip,
        OnErrorParameter::Abort => OnError::Abort,
    };
    let taken = take(&app, scope, &reference, Arrival { form, on_error, idempotency_key, body }).await?;
    let mut response = Json(taken.outcome).into_response();
    if taken.replayed {
        response.headers_mut().insert(idempotency::REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}
