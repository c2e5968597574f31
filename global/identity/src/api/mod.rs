//! HTTP: parse → operation → view.

mod accounts;
mod api_keys;
mod device;
mod feeds;
mod members;
mod oauth;
mod sessions;

use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use contracts::Claims;
use http::request::Parts;
use http::{HeaderMap, header};
use kit::fault::Problem;
use kit::http::Peer;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::Identity;
use crate::domain::access::Caller;
use crate::error::Error;

/// Everything clients may reach.
pub fn router(identity: Identity) -> axum::Router {
    let (router, _) = routes().with_state(identity).split_for_parts();
    router
}

/// The same as a description.
pub fn openapi() -> utoipa::openapi::OpenApi {
    routes().into_openapi()
}

fn routes() -> OpenApiRouter<Identity> {
    OpenApiRouter::new()
        .routes(routes!(oauth::token))
        .routes(routes!(oauth::revoke))
        .routes(routes!(oauth::userinfo))
        .routes(routes!(feeds::discovery))
        .routes(routes!(feeds::public_jwks))
        .routes(routes!(device::authorise))
        .routes(routes!(device::page, device::decide))
        .routes(routes!(sessions::sign_in, sessions::list))
        .routes(routes!(sessions::end))
        .routes(routes!(accounts::create_user, accounts::list_users))
        .routes(routes!(accounts::get_user, accounts::edit_user, accounts::delete_user))
        .routes(routes!(accounts::create_service_account, accounts::list_service_accounts))
        .routes(routes!(
            accounts::get_service_account,
            accounts::edit_service_account,
            accounts::delete_service_account
        ))
        .routes(routes!(api_keys::create, api_keys::list))
        .routes(routes!(api_keys::revoke))
        .routes(routes!(members::list))
        .routes(routes!(members::put, members::remove))
}

/// What only the router and cells may reach; the host guards it.
pub fn internal_router(identity: Identity) -> axum::Router {
    axum::Router::new()
        .route("/internal/v1/jwks", axum::routing::get(feeds::jwks))
        .route("/internal/v1/revocations", axum::routing::get(feeds::revocations))
        .route("/internal/v1/key-cards", axum::routing::get(feeds::key_cards))
        .with_state(identity)
}

/// Puts the claims of a bearer token into the request's extensions. A token that is not good is
/// refused here; no token at all is left to the handler.
pub async fn authenticate(
    State(identity): State<Identity>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if let Some(claims) = identity.bearer(request.headers()).await? {
        request.extensions_mut().insert(claims);
    }
    Ok(next.run(request).await)
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let claims = parts.extensions.get::<Claims>().and_then(Caller::from_claims);
        Ok(claims.ok_or(Error::Unauthenticated)?)
    }
}

/// Where a request came from, for counting failures only: the client as the router saw it, else the peer.
pub struct Address(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Address {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let peer = || parts.extensions.get::<Peer>().map_or_else(String::new, |peer| peer.0.to_string());
        Ok(Self(forwarded_for(&parts.headers).unwrap_or_else(peer)))
    }
}

/// The first `for=` of an RFC 7239 header, without its port.
fn forwarded_for(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::FORWARDED)?.to_str().ok()?;
    let first = value.split(',').next()?;
    let node = first.split(';').find_map(|pair| {
        let (name, node) = pair.trim().split_once('=')?;
        name.eq_ignore_ascii_case("for").then(|| node.trim_matches('"'))
    })?;
    let host = match node.strip_prefix('[') {
        Some(v6) => v6.split(']').next()?,
        None => node.split(':').next()?,
    };
    (!host.is_empty() && host.len() <= 64).then(|| host.to_owned())
}

/// An id in a path; one that is not well formed names nothing.
fn id(text: &str, what: &'static str) -> Result<Uuid, Error> {
    text.parse().map_err(|_| Error::NotFound(what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_is_read_from_the_routers_header() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::FORWARDED, text.parse().unwrap());
            forwarded_for(&headers)
        };
        assert_eq!(read("for=127.0.0.9;proto=http"), Some("127.0.0.9".into()));
        assert_eq!(read("proto=http; For=\"[::1]:4711\""), Some("::1".into()));
        assert_eq!(read("for=10.0.0.1:80, for=10.0.0.2"), Some("10.0.0.1".into()));
        assert_eq!(read("by=x"), None);
    }
}
