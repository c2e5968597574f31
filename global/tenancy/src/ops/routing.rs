//! The routing feed: a snapshot or nothing, then every change in order.

use std::time::Duration;

use bytes::Bytes;
use contracts::routing::FeedLine;
use futures::Stream;
use futures::stream;
use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::Tenancy;
use crate::error::Error;
use crate::store::routing;

const HEARTBEAT: Duration = Duration::from_secs(5);
/// A reader further behind gets the whole table instead of the changes.
const MAX_CATCH_UP: u64 = 1000;
const BATCH: i64 = 500;

struct Reader {
    tenancy: Tenancy,
    head: watch::Receiver<u64>,
    /// Version the reader has after the last line sent.
    sent: u64,
    /// The first piece, read before the answer began.
    first: Option<Bytes>,
    /// Whether the reader was told that it knows everything.
    caught_up: bool,
    _place: OwnedSemaphorePermit,
}

fn line(line: &FeedLine) -> Result<Vec<u8>, Error> {
    let mut text = serde_json::to_vec(line).map_err(|_| Error::Broken("a feed line is not JSON"))?;
    text.push(b'\n');
    Ok(text)
}

impl Reader {
    fn heartbeat(&self) -> Result<Bytes, Error> {
        Ok(line(&FeedLine::Heartbeat { version: self.sent })?.into())
    }

    async fn next(mut self) -> Result<Option<(Bytes, Self)>, Error> {
        if let Some(first) = self.first.take() {
            return Ok(Some((first, self)));
        }
        loop {
            self.head.borrow_and_update();
            let mut db = self.tenancy.0.pool.acquire().await?;
            let changes = routing::after(&mut db, self.sent, BATCH).await?;
            drop(db);
            if !changes.is_empty() {
                let mut text = Vec::new();
                for (version, change) in changes {
                    self.sent = version;
                    text.extend(line(&FeedLine::Delta { version, change })?);
                }
                self.caught_up = false;
                return Ok(Some((text.into(), self)));
            }
            // A heartbeat names the version this reader has, never one it was not sent.
            if !std::mem::replace(&mut self.caught_up, true) {
                return Ok(Some((self.heartbeat()?, self)));
            }
            match tokio::time::timeout(HEARTBEAT, self.head.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Ok(None),
                Err(_) => return Ok(Some((self.heartbeat()?, self))),
            }
        }
    }
}

/// NDJSON for a reader that has version `since`. Breaks when the database does; the reader comes back.
pub async fn feed(
    tenancy: &Tenancy,
    since: Option<u64>,
) -> Result<impl Stream<Item = Result<Bytes, Error>> + Send + use<>, Error> {
    let place = tenancy.0.feed_readers.clone().try_acquire_owned().map_err(|_| Error::TooManyReaders)?;
    let subscription = tenancy.0.routing_head.subscribe();
    let mut db = tenancy.0.pool.begin().await?;
    let head = routing::head(&mut db).await?;
    db.rollback().await?;
    let near = |since: &u64| *since > 0 && *since <= head && head - *since <= MAX_CATCH_UP;
    let (sent, first) = match since.filter(near) {
        Some(since) => (since, None),
        None => {
            let mut db = tenancy.0.pool.begin().await?;
            let table = routing::snapshot(&mut db).await?;
            db.commit().await?;
            (table.version, Some(line(&FeedLine::Snapshot { table })?.into()))
        }
    };
    let caught_up = first.is_some();
    let reader = Reader { tenancy: tenancy.clone(), head: subscription, sent, first, caught_up, _place: place };
    Ok(stream::try_unfold(reader, Reader::next))
}
