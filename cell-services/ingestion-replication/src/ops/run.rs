//! The sink's one loop: read, and commit when a commit is due.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use kit::fault::chain;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Sink;
use super::into_table::commit_stream;
use super::letters::bury;
use super::patience::{LONGEST_PAUSE, pause, persistently, still};
use super::wanted::Wishes;
use crate::domain::due::{Waiting, is_full};
use crate::domain::progress::Topic;
use crate::domain::round::{Key, Round};
use crate::error::Error;

/// Records taken from the client at once.
const TAKE: usize = 20_000;
/// Longest wait for the first of them: a read without any is a pause.
const WAIT: Duration = Duration::from_millis(100);

/// Runs until the process stops. A stop in the middle loses nothing: what is not committed is read
/// again.
pub async fn run(sink: Arc<Sink>, wishes: Wishes, stopping: CancellationToken) -> Result<(), Error> {
    // Before the first record is read: what is read then is this topic's, or is noticed not to be.
    let Ok(topic) = persistently(&stopping, "the topic", || accepted(&sink)).await else { return Ok(()) };
    let desk = Desk {
        sink: &sink,
        topic: &topic,
        stopping: &stopping,
        wishes,
        round: Round::default(),
        is_read: false,
        committing: BTreeSet::new(),
        under_way: FuturesUnordered::new(),
    };
    match desk.work().await {
        Err(Error::Stopping) => Ok(()),
        ended => ended,
    }
}

async fn accepted(sink: &Sink) -> Result<Topic, Error> {
    let id = sink.log.topic_id().await?;
    sink.journal.accept(&id, sink.settings.forsaken_topic_id.as_deref()).await
}

/// Which rows of a round are committed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    All,
    /// Those that somebody waits for.
    Wanted,
}

/// What was read and is not yet in its tables.
struct Desk<'a> {
    sink: &'a Sink,
    topic: &'a Topic,
    stopping: &'a CancellationToken,
    wishes: Wishes,
    round: Round,
    /// Something was read since the topic's id was asked.
    is_read: bool,
    /// Whose rows are on their way into their tables.
    committing: BTreeSet<Key>,
    under_way: FuturesUnordered<BoxFuture<'a, Result<Key, Error>>>,
}

impl Desk<'_> {
    async fn work(mut self) -> Result<(), Error> {
        let (mut oldest, mut committed) = (None::<Instant>, Instant::now());
        loop {
            let before = self.round.rows;
            self.read().await?;
            if self.wishes.are_any() {
                self.commit(Which::Wanted).await?;
            }
            if self.round.is_empty() {
                oldest = None;
                continue;
            }
            let since = *oldest.get_or_insert_with(Instant::now);
            let waiting = Waiting {
                rows: self.round.rows,
                bytes: self.round.bytes,
                age: since.elapsed(),
                quiet: self.round.rows == before,
                since_commit: committed.elapsed(),
            };
            if waiting.is_due(&self.sink.settings) {
                self.commit(Which::All).await?;
                (self.sink.counters.commit_seconds)(since.elapsed().as_secs_f64());
                (oldest, committed) = (None, Instant::now());
            }
        }
    }

    /// Reads what is there, or waits a moment for it. A wish ends the waiting.
    async fn read(&mut self) -> Result<(), Error> {
        self.is_read = true;
        tokio::select! {
            biased;
            () = self.stopping.cancelled() => return Err(Error::Stopping),
            () = self.wishes.come() => (),
            read = read_on(self.sink, &mut self.round, self.stopping) => read?,
        }
        self.round.enter(self.sink.log.epoch());
        Ok(())
    }

    /// Returns when all those rows are in their tables. For a wish it reads on meanwhile, and what is wished for goes
    /// first.
    async fn commit(&mut self, which: Which) -> Result<(), Error> {
        loop {
            self.begin(which).await?;
            let own = self.sink.log.partitions();
            self.answer(&own).await?;
            let reads = self.wishes.want_more(&self.round, &own)
                && !is_full(self.round.rows, self.round.bytes, &self.sink.settings);
            if self.under_way.is_empty() && !reads {
                return self.hint().await;
            }
            self.is_read |= reads;
            tokio::select! {
                biased;
                () = self.stopping.cancelled(), if self.under_way.is_empty() => return Err(Error::Stopping),
                Some(done) = self.under_way.next() => {
                    self.committing.remove(&done?);
                }
                () = self.wishes.come() => (),
                read = read_on(self.sink, &mut self.round, self.stopping), if reads => read?,
            }
            self.round.enter(self.sink.log.epoch());
        }
    }

    /// Gives poison up, and begins as many commits as there is room for. Rows that somebody waits for find room beside
    /// all others.
    async fn begin(&mut self, which: Which) -> Result<(), Error> {
        let room = self.sink.settings.commits_at_once;
        for poison in self.round.take_poison() {
            self.same_topic().await?;
            persistently(self.stopping, "a dead letter", || bury(self.sink, &poison)).await?;
        }
        while self.under_way.len() < 2 * room {
            let others_too = which == Which::All && self.under_way.len() < room;
            let taken = self.round.take_rows(self.wishes.tenants(), others_too, &self.committing);
            let Some((key, rows)) = taken else { break };
            self.same_topic().await?;
            self.committing.insert(key.clone());
            let (sink, topic, stopping) = (self.sink, self.topic, self.stopping);
            let commit = async move { commit_stream(sink, topic, key.1, Arc::new(rows), stopping).await.map(|()| key) };
            self.under_way.push(commit.boxed());
        }
        Ok(())
    }

    /// Tells those who wait for rows that are in their tables by now: the rows of this topic, and of none that was before it.
    async fn answer(&mut self, own: &BTreeSet<i32>) -> Result<(), Error> {
        let fulfilled = self.wishes.take_fulfilled(&self.round, own, &self.committing);
        if fulfilled.is_empty() {
            return Ok(());
        }
        persistently(self.stopping, "rows that are waited for", || still(self.sink, self.topic)).await?;
        fulfilled.into_iter().for_each(|wish| wish.fulfil(&self.round));
        Ok(())
    }

    /// The topic's id is asked after the reading and before any of it counts: offsets of a topic made anew must not pass
    /// for the old one's.
    async fn same_topic(&mut self) -> Result<(), Error> {
        if self.is_read {
            persistently(self.stopping, "a round", || still(self.sink, self.topic)).await?;
            self.is_read = false;
        }
        Ok(())
    }

    /// Moves the group's hint, once everything that was read is dealt with.
    async fn hint(&mut self) -> Result<(), Error> {
        if !self.round.is_empty() {
            return Ok(());
        }
        persistently(self.stopping, "the group's hint", || still(self.sink, self.topic)).await?;
        if self.sink.log.epoch() == self.round.epoch()
            && let Err(error) = self.sink.log.hint(self.round.next())
        {
            tracing::debug!(error = %chain(&error), "the hint is not committed; the tables know better anyway");
        }
        Ok(())
    }
}

/// What is there, or what comes in a moment.
async fn read_on(sink: &Sink, round: &mut Round, stopping: &CancellationToken) -> Result<(), Error> {
    let Err(error) = sink.log.read(round, TAKE, WAIT).await else { return Ok(()) };
    tracing::warn!(error = %chain(&error), "the sink waits for the data bus");
    pause(stopping, LONGEST_PAUSE).await
}
