//! The cell's API as one document: each service describes its own part.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use contracts::services::{GATEWAY, SERVICES};
use futures::StreamExt;
use futures::future::join_all;
use http::{HeaderValue, Method, header};
use kit::Scope;
use kit::peers::Peers;
use moka::future::Cache;
use utoipa::openapi::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};

/// A service that does not answer by then is left out of this edition, which says so.
const PATIENCE: Duration = Duration::from_secs(2);
const KEPT: Duration = Duration::from_secs(30);
/// Longest document a service may send, in bytes.
const LONGEST: u64 = 4 << 20;

/// The merged document, kept for a short while.
pub struct Documents {
    own: OpenApi,
    merged: Cache<(), String>,
}

impl Documents {
    pub fn new(own: OpenApi) -> Self {
        Self { own, merged: Cache::builder().max_capacity(1).time_to_live(KEPT).build() }
    }

    pub async fn answer(&self, peers: &Peers, scope: &Scope) -> Response {
        let merged = async { edition(self.own.clone(), parts(peers, scope).await) };
        let text = match self.merged.try_get_with((), merged).await {
            Ok(text) => text,
            // Not kept: the next caller asks the services again.
            Err(incomplete) => String::clone(&incomplete),
        };
        ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], text).into_response()
    }
}

/// Each service's part; `None` for one that did not answer.
async fn parts(peers: &Peers, scope: &Scope) -> Vec<(&'static str, Option<OpenApi>)> {
    let described = SERVICES.iter().filter(|service| service.name != GATEWAY && !service.paths.is_empty());
    let fetches = described.map(|service| async {
        let part = fetch(peers, service.name, scope).await;
        if part.is_none() {
            tracing::warn!(service = service.name, "no API document");
        }
        (service.name, part)
    });
    join_all(fetches).await
}

/// The whole document. `Err` holds one that lacks a part, and says which.
pub(crate) fn edition(mut whole: OpenApi, parts: Vec<(&str, Option<OpenApi>)>) -> Result<String, String> {
    let mut missing = Vec::new();
    whole.info.title = "Cytoplane cell".to_owned();
    // Nothing of a cell is told to nobody.
    let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    whole.components.get_or_insert_default().add_security_scheme("bearer", bearer);
    whole.security = Some(vec![SecurityRequirement::new("bearer", Vec::<String>::new())]);
    for (name, part) in parts {
        match part {
            Some(part) => whole.merge(part),
            None => missing.push(name),
        }
    }
    if !missing.is_empty() {
        whole.info.description = Some(format!("Incomplete: {} did not answer.", missing.join(", ")));
    }
    let text = whole.to_json().unwrap_or_else(|_| "{}".to_owned());
    if missing.is_empty() { Ok(text) } else { Err(text) }
}

async fn fetch(peers: &Peers, service: &str, scope: &Scope) -> Option<OpenApi> {
    let call = peers.http(service).ok()?.request(Method::GET, "/openapi.json", scope).ok()?.timeout(PATIENCE);
    let answer = call.send().await.ok()?.error_for_status().ok()?;
    if answer.content_length().is_some_and(|length| length > LONGEST) {
        return None;
    }
    let mut text = Vec::new();
    let mut chunks = answer.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        text.extend_from_slice(&chunk.ok()?);
        if text.len() as u64 > LONGEST {
            return None;
        }
    }
    serde_json::from_slice(&text).ok()
}
