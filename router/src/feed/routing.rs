//! Follows the routing log. Nothing of it is in force that tenancy has not signed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use contracts::routing::FeedLine;
use tokio::task::JoinHandle;

use super::lines::Lines;
use super::standing::Backoff;
use super::{FeedError, Feeds, Source, Standing, keep};
use crate::knowledge::Knowledge;
use crate::shelf::Shelf;
use crate::table::{Follower, Seal, Sealing, StepError, Taken, View};
use crate::token::Unproven;

const NAME: &str = "routing";
/// Least time between two snapshots on disk, and how much longer than packing one it is.
const KEEP_EVERY: Duration = Duration::from_secs(1);
const KEEP_SHARE: u32 = 20;
/// A line has at most a few hundred routes.
const MOST_LINE: usize = 16 * 1024 * 1024;

#[derive(Clone)]
pub struct Routing {
    knowledge: Arc<Knowledge>,
    source: Arc<Source>,
    stale: Duration,
}

/// One connection's state.
struct Session {
    sealing: Sealing,
    follower: Follower,
    /// The table served differs from the one on disk.
    unkept: bool,
    /// Not before then is the next one kept.
    next: Instant,
    /// The table that is being packed and put on disk.
    packing: Option<JoinHandle<Packing>>,
}

/// A packed table, if it came to that, and how long it took.
type Packing = (Option<View>, Duration);

impl Routing {
    pub fn new(feeds: &Feeds) -> Self {
        let stale = Duration::from_secs(feeds.config.feed.routing_stale_seconds);
        Self { knowledge: feeds.knowledge.clone(), source: feeds.source.clone(), stale }
    }

    pub async fn follow(self) {
        let mut standing = Standing::new(NAME, &self.knowledge);
        let mut whole = false;
        loop {
            // Without keys no seal can be proved, and no request let in.
            self.knowledge.keys_known().await;
            let ended = self.session(whole, &mut standing).await;
            whole = matches!(ended, Err(FeedError::Step(StepError::Lost(_))));
            match ended {
                Ok(()) => standing.ended(),
                Err(error) => {
                    if matches!(
                        error,
                        FeedError::Step(StepError::Refused(_)) | FeedError::Table(_) | FeedError::Seal(_)
                    ) {
                        standing.refused();
                    }
                    standing.lost(error);
                }
            }
            tokio::select! {
                () = tokio::time::sleep(standing.pause()) => {}
                () = self.knowledge.table_wanted.notified() => tokio::time::sleep(Backoff::LEAST).await,
            }
        }
    }

    async fn session(&self, whole: bool, standing: &mut Standing) -> Result<(), FeedError> {
        let follower = Follower::new(self.knowledge.view().as_ref().clone());
        let path = match follower.view().version() {
            version if version > 0 && !whole => format!("/internal/v1/routing?since={version}"),
            _ => "/internal/v1/routing".into(),
        };
        let mut response = self.source.get(&path, self.stale).await?;
        let mut session =
            Session { sealing: Sealing::default(), follower, unkept: false, next: Instant::now(), packing: None };
        let mut lines = Lines::new(MOST_LINE);
        let outcome = loop {
            let chunk = tokio::select! {
                chunk = tokio::time::timeout(self.stale, response.chunk()) => chunk,
                () = self.keep(&mut session) => continue,
            };
            let chunk = match chunk {
                Ok(Ok(Some(chunk))) => chunk,
                Ok(Ok(None)) => break Ok(()),
                Ok(Err(error)) => break Err(error.into()),
                Err(_) => break Err(FeedError::Silent),
            };
            self.knowledge.hear();
            let outcome = match lines.push(&chunk) {
                Ok(lines) => self.apply(&mut session, lines).await,
                Err(error) => Err(error),
            };
            if outcome.is_err() {
                break outcome;
            }
            standing.heard();
        };
        while session.unkept || session.packing.is_some() {
            session.next = Instant::now();
            self.keep(&mut session).await;
        }
        outcome
    }

    /// Applies what came in one piece and serves the result, also when a later line is bad.
    async fn apply(&self, session: &mut Session, lines: Vec<Vec<u8>>) -> Result<(), FeedError> {
        let mut outcome = Ok(());
        for line in lines.iter().filter(|line| !line.is_empty()) {
            outcome = self.take(session, line).await;
            if outcome.is_err() {
                break;
            }
        }
        session.unkept |= self.serve(session);
        outcome
    }

    async fn take(&self, session: &mut Session, line: &[u8]) -> Result<(), FeedError> {
        match session.sealing.take(line)? {
            Taken::Held => {}
            Taken::Part(line) => session.follower.step(line)?,
            Taken::Seal(seal) => {
                self.prove(&seal).await?;
                for line in session.sealing.release() {
                    step(&mut session.follower, line).await?;
                }
            }
        }
        Ok(())
    }

    /// A key that has come into use since the keys were fetched is fetched now.
    async fn prove(&self, seal: &Seal) -> Result<(), FeedError> {
        let proven = || self.knowledge.keys().map_or(Err(Unproven::UnknownKey), |keys| seal.prove(&keys));
        match proven() {
            Err(Unproven::UnknownKey) if self.knowledge.newer_keys().await => Ok(proven()?),
            proven => Ok(proven?),
        }
    }

    fn serve(&self, session: &mut Session) -> bool {
        let Some(view) = session.follower.take() else { return false };
        tracing::info!(version = view.version(), tenants = view.tenants(), "routing table");
        self.knowledge.replace_view(view);
        true
    }

    /// Does the next thing there is to do for the copy on disk; waits for ever when there is none. May be
    /// dropped at any point and called again.
    async fn keep(&self, session: &mut Session) {
        if session.packing.is_none() {
            if !session.unkept {
                return std::future::pending().await;
            }
            tokio::time::sleep_until(session.next.into()).await;
            session.unkept = false;
            session.packing =
                Some(tokio::spawn(pack(session.follower.to_pack(), self.knowledge.shelves.routing.clone())));
        }
        let Some(packing) = &mut session.packing else { return };
        let (packed, took) = packing.await.unwrap_or_default();
        session.packing = None;
        session.next = Instant::now() + KEEP_EVERY.max(took * KEEP_SHARE);
        if let Some(packed) = packed {
            match session.follower.packed(packed) {
                Ok(()) => self.serve(session),
                Err(error) => {
                    tracing::error!(%error, "a packed table is not the one it was packed from");
                    false
                }
            };
        }
    }
}

/// Applies one line; what takes long, away from the threads that serve requests.
async fn step(follower: &mut Follower, line: FeedLine) -> Result<(), FeedError> {
    let FeedLine::End { version, tenants } = line else { return Ok(follower.step(line)?) };
    let ending = follower.end(version, tenants)?;
    let whole = tokio::task::spawn_blocking(move || ending.run()).await;
    follower.replace(whole.map_err(|_| FeedError::Unfinished)??);
    Ok(())
}

/// Packs a table and keeps it; away from the threads that serve requests.
async fn pack(view: View, shelf: Shelf) -> Packing {
    let begun = Instant::now();
    let packed = tokio::task::spawn_blocking(move || view.repacked()).await;
    match packed {
        Ok(Ok(view)) => {
            keep(&shelf, view.version(), view.bytes().clone()).await;
            (Some(view), begun.elapsed())
        }
        Ok(Err(error)) => {
            tracing::error!(%error, "the table cannot be packed");
            (None, begun.elapsed())
        }
        Err(error) => {
            tracing::error!(%error, "the table was not packed to the end");
            (None, begun.elapsed())
        }
    }
}
