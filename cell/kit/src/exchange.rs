//! One call of a service to another and its whole answer: the seam at which a simulation brings a
//! network of its own.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use contracts::Generation;
use contracts::headers::GENERATION_REQUIRED;
use http::{HeaderMap, Request, Response};

use crate::Scope;
use crate::peers::PeerHttp;

/// An answer that takes longer is as good as lost.
const DEADLINE: Duration = Duration::from_secs(30);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The call cannot have arrived.
    #[error("the peer is not reachable")]
    Unreached(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The call may have arrived, and been carried out.
    #[error("the peer's answer was lost")]
    Unanswered(#[source] Box<dyn std::error::Error + Send + Sync>),
}

#[async_trait]
pub trait Exchange: Send + Sync {
    /// Sends a call on behalf of `scope`; its URI is a path with its query.
    async fn exchange(&self, scope: &Scope, call: Request<Bytes>) -> Result<Response<Bytes>, ExchangeError>;
}

#[async_trait]
impl Exchange for PeerHttp {
    async fn exchange(&self, scope: &Scope, call: Request<Bytes>) -> Result<Response<Bytes>, ExchangeError> {
        let (parts, body) = call.into_parts();
        let request = self
            .request(parts.method, &parts.uri.to_string(), scope)
            .map_err(|error| ExchangeError::Unreached(Box::new(error)))?;
        answered(request.headers(parts.headers).body(body)).await
    }
}

/// Sends a request and reads its answer to the end, within 30 s.
pub async fn answered(request: reqwest::RequestBuilder) -> Result<Response<Bytes>, ExchangeError> {
    let response = request.timeout(DEADLINE).send().await.map_err(|error| match error.is_connect() {
        true => ExchangeError::Unreached(Box::new(error)),
        false => ExchangeError::Unanswered(Box::new(error)),
    })?;
    let (status, headers) = (response.status(), response.headers().clone());
    let body = response.bytes().await.map_err(|error| ExchangeError::Unanswered(Box::new(error)))?;
    let mut answer = Response::new(body);
    (*answer.status_mut(), *answer.headers_mut()) = (status, headers);
    Ok(answer)
}

/// The generation that a peer's 421 asks for, if it names one.
pub fn generation_required(answer: &HeaderMap) -> Option<Generation> {
    answer.get(GENERATION_REQUIRED)?.to_str().ok()?.parse().ok()
}
