//! HTTP to the platform through the router, as any client outside speaks it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::site::Site;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Without a byte for that long a connection is given up.
const READ_TIMEOUT: Duration = Duration::from_secs(120);

#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error("the platform does not answer at {address}; is the site up (cyto up)?")]
    Unreachable {
        address: String,
        #[source]
        source: reqwest::Error,
    },
    #[error("{what}: {detail} ({status}{})", code_suffix(.code))]
    Refused { what: String, status: StatusCode, code: String, detail: String, retry_after: Option<Duration> },
    #[error("{what}: the answer is not what the API promises")]
    Answer {
        what: String,
        #[source]
        source: reqwest::Error,
    },
}

fn code_suffix(code: &str) -> String {
    if code.is_empty() { String::new() } else { format!(", {code}") }
}

impl ApiError {
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            ApiError::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// How long to wait before the same request may be sent again; `None` if it may not. Only
    /// refusals qualify: after a broken connection nobody knows whether a push was accepted.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            ApiError::Refused { status, retry_after, .. }
                if matches!(*status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) =>
            {
                Some(retry_after.unwrap_or(Duration::from_secs(1)))
            }
            _ => None,
        }
    }
}

/// Names under `.localhost` mean the router's address; resolvers of many systems do not know them.
struct Router(SocketAddr);

impl Resolve for Router {
    fn resolve(&self, _name: Name) -> Resolving {
        let address = self.0;
        Box::pin(async move { Ok(Box::new(std::iter::once(address)) as Addrs) })
    }
}

/// Cheap to clone; all clones share one connection pool.
#[derive(Clone)]
pub struct Api {
    client: reqwest::Client,
    router: SocketAddr,
}

/// RFC 9457, and RFC 6749 from the token endpoint.
#[derive(Deserialize, Default)]
struct Problem {
    #[serde(default)]
    code: String,
    #[serde(default)]
    detail: String,
    #[serde(default)]
    title: String,
    #[serde(default)]
    error: String,
    #[serde(default)]
    error_description: String,
}

impl Api {
    pub fn new(site: &Site) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder()
            .dns_resolver(Arc::new(Router(site.http)))
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()?;
        Ok(Self { client, router: site.http })
    }

    /// URL of `path` at a host of the platform, for example `global` or a tenant's name.
    pub fn url(&self, host: &str, path: &str) -> String {
        format!("http://{host}.localhost:{}{path}", self.router.port())
    }

    pub fn request(&self, method: Method, host: &str, path: &str) -> RequestBuilder {
        self.client.request(method, self.url(host, path))
    }

    /// Sends; an answer outside 2xx becomes [`ApiError::Refused`] with the problem's own words.
    pub async fn send(&self, what: &str, request: RequestBuilder) -> Result<Response, ApiError> {
        let unreachable = |source| ApiError::Unreachable { address: self.router.to_string(), source };
        let response = request.send().await.map_err(unreachable)?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(refusal(what, response).await)
    }

    pub async fn json<T: DeserializeOwned>(&self, what: &str, request: RequestBuilder) -> Result<T, ApiError> {
        let response = self.send(what, request).await?;
        response.json().await.map_err(|source| ApiError::Answer { what: what.to_owned(), source })
    }
}

async fn refusal(what: &str, response: Response) -> ApiError {
    let status = response.status();
    let retry_after = response
        .headers()
        .get(reqwest::header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .map(Duration::from_secs);
    let text = response.text().await.unwrap_or_default();
    let problem: Problem = serde_json::from_str(&text).unwrap_or_default();
    let first = |words: [String; 4]| words.into_iter().find(|w| !w.is_empty());
    let reason = status.canonical_reason().unwrap_or("refused").to_owned();
    let detail =
        first([problem.detail, problem.error_description, problem.title, reason]).unwrap_or_else(|| status.to_string());
    let code = if problem.code.is_empty() { problem.error } else { problem.code };
    ApiError::Refused { what: what.to_owned(), status, code, detail, retry_after }
}

/// One page of a list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Page<T> {
    pub data: Vec<T>,
    #[serde(default)]
    pub next_page_token: Option<String>,
}
