//! Fetches the key set: regularly, and out of turn when a token names an unknown key.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{FeedError, Feeds, Source, Standing, keep};
use crate::knowledge::Knowledge;
use crate::shelf::Kind;
use crate::token::Keys;

const NAME: &str = "keys";
/// Least time between two fetches: unknown key ids are free to invent.
const LEAST_PAUSE: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub struct KeySets {
    knowledge: Arc<Knowledge>,
    source: Arc<Source>,
    pause: Duration,
}

impl KeySets {
    pub fn new(feeds: &Feeds) -> Self {
        let pause = Duration::from_secs(feeds.config.feed.jwks_seconds);
        Self { knowledge: feeds.knowledge.clone(), source: feeds.source.clone(), pause }
    }

    pub async fn follow(self) {
        let mut standing = Standing::new(NAME, &self.knowledge);
        let mut held = Vec::new();
        loop {
            let pause = match self.fetch(&mut held).await {
                Ok(()) => {
                    standing.heard();
                    tokio::time::sleep(LEAST_PAUSE).await;
                    self.pause
                }
                Err(error) => {
                    if matches!(error, FeedError::Keys(_)) {
                        standing.refused();
                    }
                    standing.lost(error);
                    standing.pause()
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.knowledge.keys_wanted.notified() => {}
            }
        }
    }

    async fn fetch(&self, held: &mut Vec<u8>) -> Result<(), FeedError> {
        let body = self.source.fetch("/internal/v1/jwks", PATIENCE, Kind::Keys.bound()).await?;
        let keys = Keys::read(&body)?;
        tracing::debug!(keys = keys.len(), "key set");
        self.knowledge.replace_keys(keys);
        if *held != body {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let version = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
            keep(&self.knowledge.shelves.keys, version, body.clone()).await;
            *held = body;
        }
        Ok(())
    }
}
