//! Follows the cards of API keys.

use std::sync::Arc;
use std::time::{Duration, Instant};

use contracts::key_cards::CardLine;
use tokio::task::JoinHandle;

use super::lines::Lines;
use super::{FeedError, Feeds, Source, Standing, keep};
use crate::cards::Cards;
use crate::knowledge::{Knowledge, now};
use crate::shelf::Shelf;

const NAME: &str = "key_cards";
const MAX_LINE: usize = 64 * 1024;
/// Least time between two snapshots on disk.
const KEEP_EVERY: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub struct KeyCards {
    knowledge: Arc<Knowledge>,
    source: Arc<Source>,
    stale: Duration,
}

/// The copy on disk.
struct Keeping {
    unkept: bool,
    next: Instant,
    writing: Option<JoinHandle<()>>,
}

impl KeyCards {
    pub fn new(feeds: &Feeds) -> Self {
        let stale = Duration::from_secs(feeds.config.feed.routing_stale_seconds);
        Self { knowledge: feeds.knowledge.clone(), source: feeds.source.clone(), stale }
    }

    pub async fn follow(self) {
        let mut standing = Standing::new(NAME, &self.knowledge);
        let mut keeping = Keeping { unkept: false, next: Instant::now(), writing: None };
        loop {
            match self.session(&mut standing, &mut keeping).await {
                Ok(()) => standing.ended(),
                Err(error) => standing.lost(error),
            }
            tokio::time::sleep(standing.pause()).await;
        }
    }

    async fn session(&self, standing: &mut Standing, keeping: &mut Keeping) -> Result<(), FeedError> {
        let since = self.knowledge.cards().seq;
        let (mut response, went_back) = self.source.after(NAME, "/internal/v1/key-cards", since, self.stale).await?;
        if went_back {
            // Cards known stay until they expire.
            let mut cards = Cards::clone(&self.knowledge.cards());
            cards.seq = 0;
            self.knowledge.replace_cards(cards);
        }
        let mut lines = Lines::new(MAX_LINE);
        loop {
            let chunk = tokio::select! {
                chunk = tokio::time::timeout(self.stale, response.chunk()) => chunk.map_err(|_| FeedError::Silent)??,
                () = self.keep(keeping) => continue,
            };
            let Some(chunk) = chunk else { return Ok(()) };
            keeping.unkept |= self.take(lines.push(&chunk)?)?;
            standing.heard();
        }
    }

    /// Whether there was any.
    fn take(&self, lines: Vec<Vec<u8>>) -> Result<bool, FeedError> {
        let mut cards: Option<Cards> = None;
        let mut full = false;
        for line in lines.iter().filter(|line| !line.is_empty()) {
            let line: CardLine = serde_json::from_slice(line).map_err(|e| FeedError::Shape(e.to_string()))?;
            let cards = cards.get_or_insert_with(|| Cards::clone(&self.knowledge.cards()));
            full = !cards.add(line);
            if full {
                break;
            }
        }
        let Some(mut cards) = cards else { return Ok(false) };
        if full {
            cards.forget(now());
        }
        self.knowledge.replace_cards(cards);
        if full { Err(FeedError::Full) } else { Ok(true) }
    }

    /// Does the next thing there is to do for the copy on disk; waits for ever when there is none. May be dropped at
    /// any point and called again.
    async fn keep(&self, keeping: &mut Keeping) {
        if let Some(writing) = &mut keeping.writing {
            if let Err(error) = writing.await {
                tracing::error!(%error, "keeping the cards failed");
            }
            keeping.writing = None;
            keeping.next = Instant::now() + KEEP_EVERY;
        }
        if !keeping.unkept {
            return std::future::pending().await;
        }
        tokio::time::sleep_until(keeping.next.into()).await;
        keeping.unkept = false;
        let cards = Cards::clone(&self.knowledge.cards());
        keeping.writing = Some(tokio::spawn(write(cards, self.knowledge.shelves.cards.clone())));
    }
}

/// Away from the threads that serve requests.
async fn write(mut cards: Cards, shelf: Shelf) {
    let payload = tokio::task::spawn_blocking(move || {
        cards.forget(now());
        (cards.seq, cards.payload())
    });
    match payload.await {
        Ok((seq, Ok(payload))) => keep(&shelf, seq, payload).await,
        Ok((_, Err(error))) => tracing::error!(%error, "cards have no JSON form"),
        Err(error) => tracing::error!(%error, "the cards were not written to the end"),
    }
}
