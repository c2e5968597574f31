//! The cell's API as one document: each service describes its own part.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use contracts::services::{GATEWAY, SERVICES};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use http::{HeaderValue, Method, header};
use kit::Scope;
use kit::peers::Peers;
use moka::future::Cache;
use utoipa::openapi::OpenApi;

/// A service that does not answer by then is left out of this edition.
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
        let text = self.merged.get_with((), self.merge(peers, scope)).await;
        ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], text).into_response()
    }

    async fn merge(&self, peers: &Peers, scope: &Scope) -> String {
        let mut fetches: FuturesUnordered<_> = SERVICES
            .iter()
            .filter(|service| service.name != GATEWAY && !service.paths.is_empty())
            .map(|service| async { (service.name, fetch(peers, service.name, scope).await) })
            .collect();
        let mut found = Vec::new();
        while let Some((name, document)) = fetches.next().await {
            match document {
                Some(document) => found.push((name, document)),
                None => tracing::warn!(service = name, "no API document"),
            }
        }
        // The order of answers is chance; the document's is not.
        found.sort_by_key(|(name, _)| *name);
        let mut whole = self.own.clone();
        whole.info.title = "Cytoplane cell".to_owned();
        for (_, document) in found {
            whole.merge(document);
        }
        whole.to_json().unwrap_or_else(|_| "{}".to_owned())
    }
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
