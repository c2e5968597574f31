//! The feeds of the routing log: everything for a router, and for a cell what concerns it. What the reader lacks comes
//! first, then every change in order.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use contracts::CellId;
use contracts::placements::{PlacementLine, place_in};
use contracts::routing::FeedLine;
use contracts::seal::Unsealed;
use futures::Stream;
use futures::stream;
use serde::Serialize;
use sqlx::PgConnection;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;

use crate::error::Error;
use crate::ops::spool::Spool;
use crate::store::{cells, routing};
use crate::{Signature, Tenancy};

const HEARTBEAT: Duration = Duration::from_secs(5);
/// A reader further behind gets everything anew instead of the changes.
const MAX_CATCH_UP: u64 = 1000;
const BATCH: i64 = 500;
/// Tenants of one piece of a cell's list.
const PIECE: i64 = 1000;

/// Who reads, and so what it is told.
#[derive(Debug, Clone)]
pub enum Audience {
    Router,
    Cell(CellId),
}

struct Reader {
    tenancy: Tenancy,
    audience: Audience,
    head: watch::Receiver<u64>,
    /// Version up to which the log has been read.
    read: u64,
    /// Version of the last line sent.
    told: u64,
    /// What comes before any change.
    whole: Option<Whole>,
    /// When the reader is told again that the feed is alive.
    quiet_until: Instant,
    /// Whether the reader was told that it knows everything.
    caught_up: bool,
    _place: OwnedSemaphorePermit,
}

/// Everything there is.
enum Whole {
    /// And how much of it was sent, in bytes.
    Table(Arc<Spool>, u64),
    List(List),
}

/// A cell's tenants, read piece by piece. A later piece may be of a later moment than `version`; the changes
/// since then follow, and the higher generation always wins. So no transaction waits for a slow reader.
struct List {
    version: u64,
    /// The last tenant sent.
    after: String,
}

pub(super) fn line(line: &impl Serialize) -> Result<Vec<u8>, Error> {
    let mut text = serde_json::to_vec(line).map_err(|_| Error::Broken("a feed line is not JSON"))?;
    text.push(b'\n');
    Ok(text)
}

/// The seal of what has been added; what is added from now on is another's.
pub(super) fn seal(tenancy: &Tenancy, unsealed: &mut Unsealed) -> Result<FeedLine, Error> {
    let Signature { kid, signature } = tenancy.0.signer.sign(&unsealed.statement()).map_err(Error::Signing)?;
    Ok(FeedLine::Seal { kid, signature })
}

/// Lines for a router, and their seal.
fn sealed(tenancy: &Tenancy, mut lines: Vec<u8>) -> Result<Vec<u8>, Error> {
    let mut unsealed = Unsealed::default();
    unsealed.add(&lines);
    lines.extend(line(&seal(tenancy, &mut unsealed)?)?);
    Ok(lines)
}

impl Audience {
    fn heartbeat(&self, tenancy: &Tenancy, version: u64) -> Result<Vec<u8>, Error> {
        match self {
            Audience::Router => sealed(tenancy, line(&FeedLine::Heartbeat { version })?),
            Audience::Cell(_) => line(&PlacementLine::Heartbeat { version }),
        }
    }

    /// Everything there is, and its version.
    async fn whole(&self, tenancy: &Tenancy, head: u64) -> Result<(u64, Whole), Error> {
        match self {
            Audience::Router => {
                let spool = tenancy.0.spools.table(tenancy, head).await?;
                Ok((spool.version, Whole::Table(spool, 0)))
            }
            Audience::Cell(_) => Ok((head, Whole::List(List { version: head, after: String::new() }))),
        }
    }
}

impl List {
    /// The next piece, and whether there is another.
    async fn piece(&mut self, db: &mut PgConnection, cell: &CellId) -> Result<(Bytes, bool), Error> {
        let listed = routing::tenants_of(db, cell, &self.after, PIECE).await?;
        let departed = cells::departed(db, cell.as_str()).await?;
        let last = listed.len() < usize::try_from(PIECE).unwrap_or(usize::MAX);
        if let Some((tenant, ..)) = listed.last() {
            self.after = tenant.as_str().to_owned();
        }
        let leaving = listed.iter().filter_map(|(tenant, _, leaving)| Some((tenant.clone(), (*leaving)?))).collect();
        let tenants = listed.into_iter().map(|(tenant, generation, _)| (tenant, generation)).collect();
        let piece = line(&PlacementLine::Tenants { version: self.version, tenants, leaving, departed, last })?;
        Ok((piece.into(), !last))
    }
}

impl Reader {
    /// Reads on in the log: the lines that come of it, if any.
    async fn changes(&mut self, db: &mut PgConnection) -> Result<(usize, Vec<u8>), Error> {
        let mut text = Vec::new();
        match &self.audience {
            Audience::Router => {
                let changes = routing::after(db, self.read, BATCH).await?;
                let count = changes.len();
                for (version, change) in changes {
                    (self.read, self.told) = (version, version);
                    text.extend(line(&FeedLine::Delta { version, change })?);
                }
                Ok((count, if text.is_empty() { text } else { sealed(&self.tenancy, text)? }))
            }
            Audience::Cell(cell) => {
                let changes = routing::after_for(db, cell, self.read, BATCH).await?;
                let count = changes.len();
                for (version, change) in changes {
                    self.read = version;
                    if let Some((tenant, place)) = change.and_then(|change| place_in(cell, &change)) {
                        let after = std::mem::replace(&mut self.told, version);
                        text.extend(line(&PlacementLine::Changed { version, after, tenant, place })?);
                    }
                }
                Ok((count, text))
            }
        }
    }

    fn heartbeat(&mut self) -> Result<Bytes, Error> {
        // It names the version this reader has, never one it was not sent.
        self.told = self.read;
        self.quiet_until = Instant::now() + HEARTBEAT;
        Ok(self.audience.heartbeat(&self.tenancy, self.told)?.into())
    }

    /// The next piece of what comes before any change.
    async fn begin(&mut self) -> Result<Option<Bytes>, Error> {
        match (self.whole.take(), &self.audience) {
            (Some(Whole::Table(spool, at)), _) => {
                let piece = spool.piece(at).await?;
                if let Some(piece) = &piece {
                    self.whole = Some(Whole::Table(spool, at + piece.len() as u64));
                }
                Ok(piece)
            }
            (Some(Whole::List(mut list)), Audience::Cell(cell)) => {
                let mut db = self.tenancy.0.pool.acquire().await?;
                let (piece, more) = list.piece(&mut db, cell).await?;
                self.whole = more.then_some(Whole::List(list));
                Ok(Some(piece))
            }
            _ => Ok(None),
        }
    }

    async fn next(mut self) -> Result<Option<(Bytes, Self)>, Error> {
        if let Some(piece) = self.begin().await? {
            return Ok(Some((piece, self)));
        }
        loop {
            self.head.borrow_and_update();
            let mut db = self.tenancy.0.pool.acquire().await?;
            let (read, text) = self.changes(&mut db).await?;
            drop(db);
            if !text.is_empty() {
                self.caught_up = false;
                self.quiet_until = Instant::now() + HEARTBEAT;
                return Ok(Some((text.into(), self)));
            }
            if read > 0 {
                continue;
            }
            if !std::mem::replace(&mut self.caught_up, true) {
                return Ok(Some((self.heartbeat()?, self)));
            }
            match tokio::time::timeout_at(self.quiet_until, self.head.changed()).await {
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
    audience: Audience,
    since: Option<u64>,
) -> Result<impl Stream<Item = Result<Bytes, Error>> + Send + use<>, Error> {
    let place = tenancy.0.feed_readers.clone().try_acquire_owned().map_err(|_| Error::TooManyReaders)?;
    let subscription = tenancy.0.routing_head.subscribe();
    let mut db = kit::database::begin(&tenancy.0.pool).await?;
    let head = routing::head(&mut db).await?;
    db.rollback().await?;
    let near = |since: &u64| *since > 0 && *since <= head && head - *since <= MAX_CATCH_UP;
    let (version, whole) = match since.filter(near) {
        Some(since) => (since, None),
        None => {
            let (version, whole) = audience.whole(tenancy, head).await?;
            (version, Some(whole))
        }
    };
    let reader = Reader {
        tenancy: tenancy.clone(),
        audience,
        head: subscription,
        read: version,
        told: version,
        caught_up: whole.is_some(),
        whole,
        quiet_until: Instant::now() + HEARTBEAT,
        _place: place,
    };
    Ok(stream::try_unfold(reader, Reader::next))
}
