//! What a cell learns from the global plane: keys, revocations, placements.
//!
//! Invariant: nothing waits for the global plane. Every feed starts from its last good snapshot
//! on disk and serves it for as long as the plane is away.

mod keys;
mod lines;
mod placements;
mod revocations;
mod snapshot;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::admission::Admission;
use crate::peers::PeerHttp;
use crate::tasks::{Policy, Tasks};

pub use snapshot::{Snapshot, SnapshotError};

/// Pause after a feed broke; it grows to [`LONGEST_PAUSE`].
const PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A feed that is silent for longer than three heartbeats is dead.
const SILENCE: Duration = Duration::from_secs(16);

type FeedError = Box<dyn std::error::Error + Send + Sync>;

/// Loads the last good snapshots and keeps `admission` fresh from then on.
pub fn follow(
    tasks: &Tasks,
    global: PeerHttp,
    data_dir: &Path,
    admission: &Arc<Admission>,
) -> Result<(), SnapshotError> {
    let dir = data_dir.join("feeds");
    let keys = keys::Keys::load(&dir, global.clone(), admission)?;
    let revocations = revocations::Revocations::load(&dir, global.clone(), admission)?;
    let placements = placements::Feeding::load(&dir, global, admission)?;
    spawn(tasks, "feed of keys", keys);
    spawn(tasks, "feed of revocations", revocations);
    spawn(tasks, "feed of placements", placements);
    Ok(())
}

/// One feed: `follow` returns only when the connection broke.
trait Feed: Send + 'static {
    fn follow(&mut self) -> impl Future<Output = Result<(), FeedError>> + Send;
}

fn spawn<F: Feed>(tasks: &Tasks, name: &'static str, mut feed: F) {
    let stopping = tasks.stopping();
    tasks.spawn(name, Policy::EndProcess, async move {
        let mut pause = PAUSE;
        loop {
            let started = std::time::Instant::now();
            tokio::select! {
                () = stopping.cancelled() => return Ok(()),
                ended = feed.follow() => if let Err(error) = ended {
                    tracing::debug!(feed = name, error = %crate::fault::chain(error.as_ref()), "feed broke");
                },
            }
            pause = if started.elapsed() > SILENCE { PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
            tokio::select! {
                () = stopping.cancelled() => return Ok(()),
                () = tokio::time::sleep(pause) => {}
            }
        }
    });
}
