//! The feeds of the global plane: routing, keys, revocations, cards of API keys, shares of limits; and what the name
//! service says of cells. Each is followed by a task of its
//! own that never gives up; while a feed is gone, what is known stays and is served.

mod cards;
mod keys;
mod lines;
mod revocations;
mod routing;
mod shares;
mod standing;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use uuid::Uuid;

use crate::config::Config;
use crate::fairness::Ledger;
use crate::knowledge::Knowledge;
use crate::metrics::{FeedLabel, Metrics};
use crate::names::Resolving;
use crate::tls::{Identity, TlsError};

pub use shares::own_id;
pub(crate) use standing::Complaint;
use standing::Standing;

/// Name the global plane's certificate must carry.
pub const GLOBAL_NAME: &str = "global.global.cytoplane.internal";

/// Head of a feed at the global plane.
const HEAD: &str = "x-cyto-head";

#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    #[error("{}", chain(.0))]
    Transport(#[from] reqwest::Error),
    #[error("answered {0}")]
    Status(u16),
    #[error("silent for too long")]
    Silent,
    #[error("a line is longer than the bound")]
    TooLong,
    #[error("sent what is no line of this feed: {0}")]
    Shape(String),
    #[error(transparent)]
    Step(#[from] crate::table::StepError),
    #[error(transparent)]
    Table(#[from] crate::table::TableError),
    #[error("lines are not sealed by tenancy: {0}")]
    Seal(#[from] crate::token::Unproven),
    #[error(transparent)]
    Keys(#[from] crate::token::KeysError),
    #[error("a table was not packed to its end")]
    Unfinished,
    #[error("more than the bound")]
    Full,
}

/// reqwest's own text names only the outermost error.
fn chain(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}

/// One mTLS HTTP/2 client to the global plane, its name pinned.
pub struct Source {
    client: reqwest::Client,
    base: String,
}

impl Source {
    pub fn new(config: &Config, identity: &Identity) -> Result<Self, SourceError> {
        let address = config.global_address()?;
        let client = reqwest::Client::builder()
            .use_preconfigured_tls(identity.feed_config()?)
            .resolve(GLOBAL_NAME, address)
            .connect_timeout(config.limits.connect())
            .http2_keep_alive_interval(Duration::from_secs(10))
            .http2_keep_alive_timeout(Duration::from_secs(5))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()?;
        Ok(Self { client, base: format!("https://{GLOBAL_NAME}:{}", address.port()) })
    }

    /// Response whose header has come within `patience` and says 200.
    async fn get(&self, path: &str, patience: Duration) -> Result<reqwest::Response, FeedError> {
        answered(self.client.get(format!("{}{path}", self.base)), patience).await
    }

    /// A feed that is numbered, from the line after `since`; and whether it went back behind that, so that it is read
    /// from its start: it was restored from an older copy, and its numbers begin again.
    async fn after(
        &self,
        feed: &'static str,
        path: &str,
        since: u64,
        patience: Duration,
    ) -> Result<(reqwest::Response, bool), FeedError> {
        let response = self.get(&format!("{path}?since={since}"), patience).await?;
        let head = response.headers().get(HEAD).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<u64>().ok());
        if head.is_none_or(|head| head >= since) {
            return Ok((response, false));
        }
        tracing::warn!(feed, since, "the feed went back; reading it from the start");
        Ok((self.get(&format!("{path}?since=0"), patience).await?, true))
    }

    /// The whole answer of a 200, `most` bytes at most; `patience` is for its header and again for its body.
    async fn fetch(&self, path: &str, patience: Duration, most: usize) -> Result<Vec<u8>, FeedError> {
        whole(self.get(path, patience).await?, patience, most).await
    }

    /// As [`Source::fetch`], of what is told.
    async fn post(
        &self,
        path: &str,
        told: &impl serde::Serialize,
        patience: Duration,
        most: usize,
    ) -> Result<Vec<u8>, FeedError> {
        let body = serde_json::to_vec(told).map_err(|error| FeedError::Shape(error.to_string()))?;
        let request = self.client.post(format!("{}{path}", self.base));
        let request = request.header(http::header::CONTENT_TYPE, "application/json").body(body);
        whole(answered(request, patience).await?, patience, most).await
    }
}

async fn answered(request: reqwest::RequestBuilder, patience: Duration) -> Result<reqwest::Response, FeedError> {
    let response = tokio::time::timeout(patience, request.send()).await.map_err(|_| FeedError::Silent)??;
    match response.status().as_u16() {
        200 => Ok(response),
        other => Err(FeedError::Status(other)),
    }
}

async fn whole(mut response: reqwest::Response, patience: Duration, most: usize) -> Result<Vec<u8>, FeedError> {
    let mut body = Vec::new();
    let read = async {
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > most {
                return Err(FeedError::TooLong);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(())
    };
    tokio::time::timeout(patience, read).await.map_err(|_| FeedError::Silent)??;
    Ok(body)
}

#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Client(#[from] reqwest::Error),
}

/// The followers, as one background service of pingora.
pub struct Feeds {
    pub knowledge: Arc<Knowledge>,
    pub source: Arc<Source>,
    pub config: Arc<Config>,
    pub ledger: Arc<Ledger>,
    /// Where the clock of the ledger begins.
    pub begun: Instant,
    /// This router's own id.
    pub router: Uuid,
    pub resolving: Resolving,
}

#[async_trait]
impl BackgroundService for Feeds {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let routing = routing::Routing::new(self);
        let keys = keys::KeySets::new(self);
        let revocations = revocations::Revocations::new(self);
        let resolving = self.resolving.clone();
        let cards = cards::KeyCards::new(self);
        let sharing = shares::Sharing::new(self);
        let metrics = &self.knowledge.metrics;
        tokio::select! {
            () = forever("routing", metrics, move || { let feed = routing.clone(); async move { feed.follow().await } }) => {}
            () = forever("keys", metrics, move || { let feed = keys.clone(); async move { feed.follow().await } }) => {}
            () = forever("revocations", metrics, move || { let feed = revocations.clone(); async move { feed.follow().await } }) => {}
            () = forever("key_cards", metrics, move || { let feed = cards.clone(); async move { feed.follow().await } }) => {}
            () = forever("shares", metrics, move || { let feed = sharing.clone(); async move { feed.follow().await } }) => {}
            () = forever("names", metrics, move || { let names = resolving.clone(); async move { names.follow().await } }) => {}
            _ = shutdown.changed() => {}
        }
    }
}

/// Runs a follower in a task of its own and starts it again should it fail: a fault in reading
/// data must leave the data held in place.
async fn forever<F, Fut>(feed: &'static str, metrics: &Metrics, make: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    loop {
        let ended = tokio::spawn(make()).await;
        metrics.feed_restarts.get_or_create(&FeedLabel { feed }).inc();
        tracing::error!(feed, failed = ended.is_err(), "the follower ended; starting it again");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Puts a snapshot on its shelf off the runtime's threads. A disk that fails is reported; serving
/// goes on from memory.
pub(crate) async fn keep(shelf: &crate::shelf::Shelf, version: u64, payload: impl AsRef<[u8]> + Send + 'static) {
    let shelf = shelf.clone();
    match tokio::task::spawn_blocking(move || shelf.put(version, payload.as_ref())).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "cannot keep a snapshot on disk"),
        Err(error) => tracing::error!(%error, "keeping a snapshot failed"),
    }
}
