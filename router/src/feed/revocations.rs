//! Follows the revocations.

use std::sync::Arc;
use std::time::Duration;

use contracts::claims::Revocation;

use super::lines::Lines;
use super::{FeedError, Feeds, Source, Standing, keep};
use crate::knowledge::{Knowledge, now};
use crate::revoked::Revoked;

const NAME: &str = "revocations";
const MAX_LINE: usize = 64 * 1024;

#[derive(Clone)]
pub struct Revocations {
    knowledge: Arc<Knowledge>,
    source: Arc<Source>,
    pause: Duration,
    stale: Duration,
}

impl Revocations {
    pub fn new(feeds: &Feeds) -> Self {
        Self {
            knowledge: feeds.knowledge.clone(),
            source: feeds.source.clone(),
            pause: Duration::from_secs(feeds.config.feed.revocations_seconds),
            stale: Duration::from_secs(feeds.config.feed.routing_stale_seconds),
        }
    }

    pub async fn follow(self) {
        let mut standing = Standing::new(NAME, &self.knowledge);
        loop {
            let pause = match self.session(&mut standing).await {
                Ok(()) => self.pause,
                Err(error) => {
                    standing.lost(error);
                    standing.pause()
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn session(&self, standing: &mut Standing) -> Result<(), FeedError> {
        let since = self.knowledge.revoked().seq;
        let (mut response, went_back) = self.source.after(NAME, "/internal/v1/revocations", since, self.stale).await?;
        if went_back {
            // Sessions known to be revoked stay so.
            let mut revoked = Revoked::clone(&self.knowledge.revoked());
            revoked.seq = 0;
            self.knowledge.replace_revoked(revoked);
        }
        let mut lines = Lines::new(MAX_LINE);
        loop {
            let chunk = tokio::time::timeout(self.stale, response.chunk()).await.map_err(|_| FeedError::Silent)??;
            let Some(chunk) = chunk else { return Ok(()) };
            self.take(lines.push(&chunk)?).await?;
            standing.heard();
        }
    }

    async fn take(&self, lines: Vec<Vec<u8>>) -> Result<(), FeedError> {
        let mut revoked: Option<Revoked> = None;
        let mut full = false;
        for line in lines.iter().filter(|line| !line.is_empty()) {
            let revocation: Revocation = serde_json::from_slice(line).map_err(|e| FeedError::Shape(e.to_string()))?;
            let revoked = revoked.get_or_insert_with(|| Revoked::clone(&self.knowledge.revoked()));
            full = !revoked.add(revocation);
            if full {
                break;
            }
        }
        let Some(mut revoked) = revoked else { return Ok(()) };
        revoked.forget(now());
        let (seq, payload) = (revoked.seq, serde_json::to_vec(&revoked));
        self.knowledge.replace_revoked(revoked);
        match payload {
            Ok(payload) => keep(&self.knowledge.shelves.revocations, seq, payload).await,
            Err(error) => tracing::error!(%error, "revocations have no JSON form"),
        }
        if full { Err(FeedError::Full) } else { Ok(()) }
    }
}
