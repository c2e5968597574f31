//! Errors as Iceberg clients read them: `{"error": {"message", "type", "code"}}`.

use axum::Json;
use axum::response::{IntoResponse, Response};
use contracts::headers::GENERATION_REQUIRED;
use http::{HeaderValue, StatusCode, header};
use kit::fault::{Fault, ProblemCode, chain};
use serde_json::json;

use crate::error::Error;

/// An answer that is not the one asked for.
pub struct Refusal(Error);

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Refusal(error) = self;
        let (status, kind) = error.wire();
        if error.kind().is_ours() {
            tracing::error!(code = error.code(), error = %chain(&error), "request failed");
        }
        let message = match status {
            500 if !matches!(error, Error::CommitUnknown(_)) => {
                "Something failed on our side; the request id finds it in our logs.".to_owned()
            }
            _ => error.to_string(),
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = envelope(status, kind, &message);
        let headers = response.headers_mut();
        if let Some(generation) = error.generation_required() {
            headers.insert(GENERATION_REQUIRED, HeaderValue::from(generation.0));
        }
        match status {
            StatusCode::UNAUTHORIZED => {
                drop(headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")))
            }
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                drop(headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1")))
            }
            _ => {}
        }
        response.extensions_mut().insert(ProblemCode(error.code()));
        response
    }
}

pub fn envelope(status: StatusCode, kind: &str, message: &str) -> Response {
    let body = json!({ "error": { "message": message, "type": kind, "code": status.as_u16() } });
    (status, Json(body)).into_response()
}

pub async fn no_such_route() -> Response {
    envelope(StatusCode::NOT_FOUND, "NotFoundException", "the catalog has no such operation")
}
