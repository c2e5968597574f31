//! Follows the routing log.

use std::sync::Arc;
use std::time::{Duration, Instant};

use contracts::routing::FeedLine;

use super::lines::Lines;
use super::{Backoff, Complaint, FeedError, Feeds, Source, keep};
use crate::knowledge::Knowledge;
use crate::metrics::FeedLabel;
use crate::shelf::Kind;
use crate::table::{Follower, StepError};

const NAME: &str = "routing";
/// Least time between two snapshots on disk.
const KEEP_EVERY: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub struct Routing {
    knowledge: Arc<Knowledge>,
    source: Arc<Source>,
    stale: Duration,
}

/// One connection's state.
struct Session {
    follower: Follower,
    /// The table served differs from the one on disk.
    unkept: bool,
    kept: Instant,
}

impl Routing {
    pub fn new(feeds: &Feeds) -> Self {
        let stale = Duration::from_secs(feeds.config.feed.routing_stale_seconds);
        Self { knowledge: feeds.knowledge.clone(), source: feeds.source.clone(), stale }
    }

    pub async fn follow(self) {
        let mut backoff = Backoff::new();
        let mut complaint = Complaint::default();
        let mut whole = false;
        loop {
            let error = self.session(whole, &mut backoff, &mut complaint).await.err();
            whole = matches!(error, Some(FeedError::Step(StepError::Lost(_))));
            let label = FeedLabel { feed: NAME };
            if let Some(error) = &error {
                if matches!(error, FeedError::Step(StepError::Refused(_)) | FeedError::Table(_) | FeedError::Shape(_)) {
                    self.knowledge.metrics.refused_data.get_or_create(&label).inc();
                }
                complaint.about(NAME, error);
            }
            self.knowledge.metrics.feed_failures.get_or_create(&label).inc();
            tokio::select! {
                () = tokio::time::sleep(backoff.pause()) => {}
                () = self.knowledge.table_wanted.notified() => tokio::time::sleep(Backoff::LEAST).await,
            }
        }
    }

    async fn session(&self, whole: bool, backoff: &mut Backoff, complaint: &mut Complaint) -> Result<(), FeedError> {
        let follower = Follower::new(self.knowledge.view().table().clone());
        let path = match follower.version() {
            version if version > 0 && !whole => format!("/internal/v1/routing?since={version}"),
            _ => "/internal/v1/routing".into(),
        };
        let mut response = self.source.get(&path, self.stale).await?;
        let mut session = Session { follower, unkept: false, kept: Instant::now() - KEEP_EVERY };
        let mut lines = Lines::new(Kind::Routing.bound());
        loop {
            let patience = if session.unkept { KEEP_EVERY } else { self.stale };
            let chunk = match tokio::time::timeout(patience, response.chunk()).await {
                Ok(chunk) => chunk?,
                Err(_) if session.unkept => {
                    self.keep(&mut session).await;
                    continue;
                }
                Err(_) => return Err(FeedError::Silent),
            };
            let Some(chunk) = chunk else {
                self.keep(&mut session).await;
                return Ok(());
            };
            self.knowledge.hear();
            let outcome = self.apply(&mut session, lines.push(&chunk)?);
            if session.unkept && session.kept.elapsed() >= KEEP_EVERY {
                self.keep(&mut session).await;
            }
            outcome?;
            backoff.reset();
            complaint.over(NAME);
        }
    }

    /// Applies what came in one piece and serves the result, also when a later line is bad.
    fn apply(&self, session: &mut Session, lines: Vec<Vec<u8>>) -> Result<(), FeedError> {
        let mut outcome = Ok(());
        for line in lines.iter().filter(|line| !line.is_empty()) {
            let step = serde_json::from_slice::<FeedLine>(line)
                .map_err(|e| FeedError::Shape(e.to_string()))
                .and_then(|line| session.follower.step(line).map_err(FeedError::from));
            if step.is_err() {
                outcome = step;
                break;
            }
        }
        if let Some(view) = session.follower.take(&self.knowledge.view())? {
            tracing::info!(version = view.version(), tenants = view.table().routes.len(), "routing table");
            self.knowledge.replace_view(view);
            session.unkept = true;
        }
        outcome
    }

    async fn keep(&self, session: &mut Session) {
        if !std::mem::take(&mut session.unkept) {
            return;
        }
        session.kept = Instant::now();
        let view = self.knowledge.view();
        match serde_json::to_vec(view.table()) {
            Ok(payload) => keep(&self.knowledge.shelves.routing, view.version(), payload).await,
            Err(error) => tracing::error!(%error, "the table has no JSON form"),
        }
    }
}
