//! What others follow: the key set, the discovery document, the feeds of revocations and of key cards.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use contracts::claims::{ISSUER, scope};
use contracts::services::{ROUTER, spiffe_id};
use futures::stream;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use kit::fault::Problem;
use kit::http::{Peer, Query};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use sqlx::PgConnection;
use tokio::sync::watch;

use crate::Identity;
use crate::error::Error;
use crate::store::{key_cards, sessions};

const HEARTBEAT: Duration = Duration::from_secs(5);
/// Lines read and sent in one piece.
const BATCH: i64 = 1000;
/// The feed's newest position, on the answer.
const HEAD: &str = "x-cyto-head";

fn key_set(identity: &Identity, headers: &HeaderMap) -> Response {
    let body = identity.0.ring.jwks().to_string();
    let etag = format!("\"{}\"", &hex::encode(Sha256::digest(body.as_bytes()))[..32]);
    let cached = [(header::ETAG, etag.clone()), (header::CACHE_CONTROL, "public, max-age=300".to_owned())];
    if headers.get(header::IF_NONE_MATCH).is_some_and(|v| v.as_bytes() == etag.as_bytes()) {
        return (StatusCode::NOT_MODIFIED, cached).into_response();
    }
    (cached, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

pub async fn jwks(State(identity): State<Identity>, headers: HeaderMap) -> Response {
    key_set(&identity, &headers)
}

/// The public signing keys: the next one, the current one and the retired ones whose tokens may still live.
#[utoipa::path(get, path = "/.well-known/jwks.json", tag = "discovery", responses((status = 200, description = "RFC 7517 key set", body = Object), (status = 304)))]
pub async fn public_jwks(State(identity): State<Identity>, headers: HeaderMap) -> Response {
    key_set(&identity, &headers)
}

/// OpenID Connect discovery. The issuer is a name, not an address: tokens must not change when the door does.
#[utoipa::path(get, path = "/.well-known/openid-configuration", tag = "discovery", responses((status = 200, body = Object)))]
pub async fn discovery(State(identity): State<Identity>) -> Json<Value> {
    let base = &identity.0.settings.public_url;
    let scopes: Vec<&str> = ["openid"].into_iter().chain(scope::TENANT.iter().copied()).collect();
    Json(json!({
        "issuer": ISSUER,
        "token_endpoint": format!("{base}/oauth2/token"),
        "revocation_endpoint": format!("{base}/oauth2/revoke"),
        "device_authorization_endpoint": format!("{base}/oauth2/device_authorization"),
        "userinfo_endpoint": format!("{base}/oauth2/userinfo"),
        "jwks_uri": format!("{base}/.well-known/jwks.json"),
        "grant_types_supported": ["client_credentials", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
        "response_types_supported": [],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["EdDSA"],
        "scopes_supported": scopes,
    }))
}

#[derive(Deserialize)]
pub struct Since {
    since: Option<u64>,
}

/// What a feed is of.
#[derive(Debug, Clone, Copy)]
enum Feed {
    Revocations,
    KeyCards,
}

impl Feed {
    fn moved(self, identity: &Identity) -> watch::Receiver<u64> {
        match self {
            Feed::Revocations => identity.0.revocation_head.subscribe(),
            Feed::KeyCards => identity.0.key_card_head.subscribe(),
        }
    }

    async fn head(self, db: &mut PgConnection) -> Result<u64, Error> {
        match self {
            Feed::Revocations => sessions::revocation_head(db).await,
            Feed::KeyCards => key_cards::head(db).await,
        }
    }

    /// What comes after a position, as lines, and the position of the last.
    async fn after(self, db: &mut PgConnection, since: u64) -> Result<Option<(Bytes, u64)>, Error> {
        match self {
            Feed::Revocations => {
                let batch = sessions::revocations_after(db, since, BATCH).await?;
                batch.last().map(|last| Ok((lines(&batch)?, last.seq))).transpose()
            }
            Feed::KeyCards => {
                let batch = key_cards::after(db, since, BATCH).await?;
                batch.last().map(|last| Ok((lines(&batch)?, last.seq))).transpose()
            }
        }
    }
}

/// One reader of a feed.
struct Reader {
    identity: Identity,
    feed: Feed,
    head: watch::Receiver<u64>,
    /// Position of the last line sent.
    sent: u64,
    /// Whether the reader knows everything up to the head.
    caught_up: bool,
}

fn lines(batch: &[impl Serialize]) -> Result<Bytes, Error> {
    let mut text = Vec::new();
    for line in batch {
        serde_json::to_writer(&mut text, line).map_err(|_| Error::Broken("a line of a feed is not JSON"))?;
        text.push(b'\n');
    }
    Ok(text.into())
}

impl Reader {
    /// The next piece of the feed: what is new, else an empty line after the heartbeat's time.
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, Error> {
        loop {
            self.head.borrow_and_update();
            let mut db = self.identity.0.pool.acquire().await?;
            let news = self.feed.after(&mut db, self.sent).await?;
            drop(db);
            if let Some((lines, last)) = news {
                self.sent = last;
                self.caught_up = false;
                return Ok(Some((lines, self)));
            }
            if !std::mem::replace(&mut self.caught_up, true) {
                return Ok(Some((Bytes::from_static(b"\n"), self)));
            }
            match tokio::time::timeout(HEARTBEAT, self.head.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Ok(None),
                Err(_) => return Ok(Some((Bytes::from_static(b"\n"), self))),
            }
        }
    }
}

/// NDJSON without an end: one revocation a line, an empty line as heartbeat. The stream breaks when
/// the database does, and the reader comes back.
pub async fn revocations(State(identity): State<Identity>, Query(query): Query<Since>) -> Result<Response, Problem> {
    follow(identity, Feed::Revocations, query).await
}

/// As [`revocations`], of the newest cards of API keys; for routers, which hand a request's card on to its cell.
pub async fn key_cards(
    State(identity): State<Identity>,
    Extension(peer): Extension<Peer>,
    Query(query): Query<Since>,
) -> Result<Response, Problem> {
    if *peer.0 != *spiffe_id(ROUTER, ROUTER) {
        return Err(Error::NotARouter.into());
    }
    follow(identity, Feed::KeyCards, query).await
}

async fn follow(identity: Identity, feed: Feed, query: Since) -> Result<Response, Problem> {
    let head = feed.head(&mut *identity.0.pool.acquire().await.map_err(Error::from)?).await?;
    let (moved, sent) = (feed.moved(&identity), query.since.unwrap_or(0));
    let reader = Reader { feed, head: moved, sent, caught_up: false, identity };
    let mut response = Response::new(Body::from_stream(stream::try_unfold(reader, Reader::next)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    headers.insert(HEAD, HeaderValue::from(head));
    Ok(response)
}
