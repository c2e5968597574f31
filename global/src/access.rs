//! Which peers may connect, and which of them may follow the feeds.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use contracts::CellId;
use contracts::services::{GLOBAL, ROUTER, named_by, spiffe_id};
use futures::StreamExt as _;
use http::HeaderMap;
use kit::fault::{Kind, Problem};
use kit::http::Peer;
use tokio_util::sync::CancellationToken;

/// Headers a router sets on what it forwards for a client.
const FORWARDED: &[&str] = &["forwarded", "x-forwarded-for", "x-cyto-forwarded"];

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Router,
    /// The plane's own tools, for example the site's supervisor.
    Global,
    Cell,
}

fn part(peer: &str) -> Option<Part> {
    if peer == spiffe_id(ROUTER, ROUTER) {
        return Some(Part::Router);
    }
    let (part, service) = named_by(peer)?;
    let service_named = CellId::new(service).is_ok();
    match part {
        ROUTER => None,
        GLOBAL => service_named.then_some(Part::Global),
        cell => (service_named && CellId::new(cell).is_ok()).then_some(Part::Cell),
    }
}

/// Routers, cells and the plane's own tools. The site's CA has signed every one of them.
pub fn admits() -> Arc<dyn Fn(&str) -> bool + Send + Sync> {
    Arc::new(|peer| part(peer).is_some())
}

fn may_follow(peer: Option<&Peer>, headers: &HeaderMap) -> bool {
    let forwarded = FORWARDED.iter().any(|name| headers.contains_key(*name));
    let part = peer.and_then(|peer| part(&peer.0));
    !forwarded && matches!(part, Some(Part::Router | Part::Cell))
}

/// Guards the feeds: only routers and cells for themselves, never a client through the router,
/// which forwards under the same identity that it follows with. Anybody else finds nothing there.
/// Endless answers end when the process stops.
pub async fn guard_feeds(State(stopping): State<CancellationToken>, request: Request, next: Next) -> Response {
    if !may_follow(request.extensions().get::<Peer>(), request.headers()) {
        return Problem::new(Kind::NotFound, "request/no-such-path", "There is nothing at this path.").into_response();
    }
    let (parts, body) = next.run(request).await.into_parts();
    let body = body.into_data_stream().take_until(stopping.cancelled_owned());
    Response::from_parts(parts, Body::from_stream(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_identities_of_the_site_have_a_part() {
        assert_eq!(part("spiffe://cytoplane/router/router"), Some(Part::Router));
        assert_eq!(part("spiffe://cytoplane/global/cyto"), Some(Part::Global));
        assert_eq!(part("spiffe://cytoplane/shared-1/gateway"), Some(Part::Cell));
        for bad in [
            "",
            "spiffe://elsewhere/router/router",
            "spiffe://cytoplane/router/x",
            "spiffe://cytoplane/a",
            "spiffe://cytoplane/Shared/x",
        ] {
            assert_eq!(part(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_client_behind_the_router_cannot_follow() {
        let router = Peer("spiffe://cytoplane/router/router".into());
        let mut headers = HeaderMap::new();
        assert!(may_follow(Some(&router), &headers));
        assert!(!may_follow(None, &headers));
        assert!(!may_follow(Some(&Peer("spiffe://cytoplane/global/cyto".into())), &headers));
        headers.insert("forwarded", "for=127.0.0.1".parse().unwrap());
        assert!(!may_follow(Some(&router), &headers));
    }
}
