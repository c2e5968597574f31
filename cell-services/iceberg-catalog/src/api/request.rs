//! What is read from a request.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use kit::Scope;
use kit::http::{PageRequest, idempotency};
use lakehouse::{Namespace, TableName};
use serde::de::DeserializeOwned;

use super::App;
use super::envelope::{Refusal, envelope};
use crate::error::{Error, Result};
use crate::ops::{Key, Need};

/// On whose behalf the request is made.
pub struct Caller(pub Scope);

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Refusal;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> std::result::Result<Self, Refusal> {
        Scope::from_headers(&parts.headers).map(Self).map_err(|error| Error::from(error).into())
    }
}

/// Another tenant's warehouse does not exist, and that is said before anything else of the request
/// is looked at.
pub async fn own_warehouse_only(
    State(app): State<App>,
    Caller(scope): Caller,
    params: RawPathParams,
    request: Request,
    next: Next,
) -> std::result::Result<Response, Refusal> {
    if let Some((_, prefix)) = params.iter().find(|(name, _)| *name == "prefix")
        && prefix != scope.tenant.as_str()
    {
        let path = request.uri().path();
        app.allow(&scope, prefix, Need::Read, "catalog.request", path.get(..200).unwrap_or(path)).await?;
    }
    Ok(next.run(request).await)
}

/// A JSON body, with the bytes it was read from.
pub struct Body<T> {
    pub value: T,
    bytes: Bytes,
}

impl<T> Body<T> {
    /// The request's Idempotency-Key, bound to this body.
    pub fn key(&self, headers: &HeaderMap, operation: &str) -> Result<Option<Key>> {
        let key = idempotency::key(headers).map_err(|bad| Error::Invalid(bad.to_string()))?;
        Ok(key.map(|key| Key::new(key, operation, &self.bytes)))
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Response;
    async fn from_request(request: Request, state: &S) -> std::result::Result<Self, Self::Rejection> {
        use axum::response::IntoResponse;
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection: BytesRejection| {
            let status = rejection.status();
            let kind = if status == StatusCode::PAYLOAD_TOO_LARGE {
                "PayloadTooLargeException"
            } else {
                "BadRequestException"
            };
            envelope(status, kind, "the body could not be read")
        })?;
        let value = serde_json::from_slice(&bytes).map_err(|error| {
            Refusal::from(Error::Invalid(format!("the body is not understood: {error}"))).into_response()
        })?;
        Ok(Self { value, bytes })
    }
}

/// A namespace as it stands in a path: levels separated by the unit separator. A name that could
/// never have been created does not exist.
pub fn namespace(segment: &str) -> Result<Namespace> {
    Namespace::new(segment.split('\u{1f}').map(str::to_owned).collect()).map_err(|_| Error::NoSuchNamespace)
}

pub fn table(namespace_segment: &str, name: &str) -> Result<TableName> {
    TableName::new(namespace(namespace_segment)?, name).map_err(|_| Error::NoSuchTable)
}

/// Iceberg lists answer everything unless the client sends a page token, be it an empty one.
pub fn page(request: &PageRequest) -> Result<Option<(String, usize)>> {
    let Some(token) = &request.page_token else { return Ok(None) };
    let invalid = |error: kit::http::PageError| Error::Invalid(error.to_string());
    let after = if token.is_empty() { None } else { request.after::<String>().map_err(invalid)? };
    Ok(Some((after.unwrap_or_default(), request.size().map_err(invalid)?)))
}
