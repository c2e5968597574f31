//! HTTP as a client outside speaks it: to the router, by the tenant's host.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::Value;

const READ_TIMEOUT: Duration = Duration::from_secs(120);

/// Every name leads to the router: `*.localhost` is not in every resolver.
struct Always(SocketAddr);

impl Resolve for Always {
    fn resolve(&self, _name: Name) -> Resolving {
        let address = self.0;
        Box::pin(async move { Ok(Box::new(std::iter::once(address)) as Addrs) })
    }
}

#[derive(Clone)]
pub struct Http {
    client: reqwest::Client,
    router: SocketAddr,
}

impl Http {
    pub fn new(router: SocketAddr) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder()
            .dns_resolver(Arc::new(Always(router)))
            .connect_timeout(Duration::from_secs(20))
            .read_timeout(READ_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()?;
        Ok(Self { client, router })
    }

    pub fn router(&self) -> SocketAddr {
        self.router
    }

    /// A request to `<host>.localhost`.
    pub fn request(&self, method: Method, host: &str, path: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{host}.localhost:{}{path}", self.router.port()))
    }
}

/// A whole answer, whatever its status.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Answer {
    pub async fn of(request: RequestBuilder) -> anyhow::Result<Self> {
        let response = request.send().await.context("no answer")?;
        let (status, headers) = (response.status(), response.headers().clone());
        Ok(Self { status, headers, text: response.text().await.context("the answer broke off")? })
    }

    pub fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_str(&self.text).with_context(|| format!("{} is no JSON: {}", self.status, self.excerpt()))
    }

    /// The JSON of a good answer.
    pub fn good(&self) -> anyhow::Result<Value> {
        ensure!(self.status.is_success(), "{}: {}", self.status, self.excerpt());
        if self.text.is_empty() { Ok(Value::Null) } else { self.json() }
    }

    /// Requires one of `wanted`, and a problem document with a code.
    pub fn refused(&self, wanted: &[u16]) -> anyhow::Result<Value> {
        ensure!(wanted.contains(&self.status.as_u16()), "{} instead of {wanted:?}: {}", self.status, self.excerpt());
        let kind = self.headers.get("content-type").and_then(|v| v.to_str().ok()).unwrap_or("nothing");
        ensure!(kind.starts_with("application/problem+json"), "{} as {kind} and not as a problem", self.status);
        let problem = self.json()?;
        ensure!(problem["code"].as_str().is_some_and(|c| c.contains('/')), "a problem without a code: {problem}");
        Ok(problem)
    }

    pub fn excerpt(&self) -> String {
        self.text.chars().take(400).collect()
    }
}
