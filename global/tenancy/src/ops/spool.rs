//! The whole table, read from the database in one moment and written to a file without a name. Every router that
//! comes for it meanwhile is sent the same file, at its own pace: no reader holds a transaction open or a table in memory.

use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use contracts::routing::{FeedLine, MOST_ROUTES};
use contracts::seal::Unsealed;
use parking_lot::Mutex;
use tokio::io::{AsyncWriteExt as _, BufWriter};
use tokio::sync::Semaphore;

use crate::Tenancy;
use crate::error::Error;
use crate::ops::feed::{line, seal};
use crate::ops::groups;
use crate::store::{routing, tiers};

/// Bytes of one piece.
const PIECE: usize = 256 * 1024;
/// A table so many changes old is made anew.
const STALE: u64 = 500;

#[derive(Debug)]
pub struct Spool {
    pub version: u64,
    file: std::fs::File,
    bytes: u64,
}

/// The table that is being sent, as long as anybody reads it.
#[derive(Debug)]
pub struct Spools {
    current: Mutex<Weak<Spool>>,
    /// One is made at a time.
    turn: Semaphore,
}

impl Default for Spools {
    fn default() -> Self {
        Self { current: Mutex::default(), turn: Semaphore::new(1) }
    }
}

impl Spools {
    /// A table that is at most [`STALE`] changes behind `head`.
    pub async fn table(&self, tenancy: &Tenancy, head: u64) -> Result<Arc<Spool>, Error> {
        let _turn = self.turn.acquire().await.map_err(|_| Error::Broken("no table is made any more"))?;
        if let Some(current) = self.current.lock().upgrade().filter(|spool| head.saturating_sub(spool.version) <= STALE)
        {
            return Ok(current);
        }
        let made = Arc::new(Spool::make(tenancy).await?);
        *self.current.lock() = Arc::downgrade(&made);
        Ok(made)
    }
}

/// Writes lines to a file, and what seals them.
struct Writer {
    file: BufWriter<tokio::fs::File>,
    bytes: u64,
    unsealed: Unsealed,
}

impl Writer {
    fn new(file: std::fs::File) -> Self {
        let file = BufWriter::with_capacity(PIECE, tokio::fs::File::from_std(file));
        Self { file, bytes: 0, unsealed: Unsealed::default() }
    }

    async fn add(&mut self, of: &FeedLine) -> Result<(), Error> {
        let text = line(of)?;
        self.unsealed.add(&text);
        self.bytes += text.len() as u64;
        self.file.write_all(&text).await.map_err(Error::Spool)
    }

    async fn seal(mut self, tenancy: &Tenancy) -> Result<(std::fs::File, u64), Error> {
        let seal = seal(tenancy, &mut self.unsealed)?;
        self.add(&seal).await?;
        self.file.flush().await.map_err(Error::Spool)?;
        Ok((self.file.into_inner().into_std().await, self.bytes))
    }
}

impl Spool {
    async fn make(tenancy: &Tenancy) -> Result<Self, Error> {
        let file = tokio::task::spawn_blocking(tempfile::tempfile).await.map_err(|_| Error::Broken("interrupted"))?;
        let mut writer = Writer::new(file.map_err(Error::Spool)?);
        let mut db = kit::database::begin(&tenancy.0.pool).await?;
        let (version, removed) = routing::hold_still(&mut db).await?;
        let (cells, tiers) = (routing::cells(&mut db).await?, tiers::list(&mut db, None, None, i64::MAX).await?);
        let groups = groups::all(&mut db).await?;
        writer.add(&FeedLine::Begin { version, cells, tiers, removed, groups }).await?;
        let (mut tenants, mut after) = (0, String::new());
        loop {
            let routes = routing::routes(&mut db, &after, i64::try_from(MOST_ROUTES).unwrap_or(i64::MAX)).await?;
            let Some(last) = routes.last() else { break };
            after = last.tenant.as_str().to_owned();
            tenants += routes.len() as u64;
            writer.add(&FeedLine::Routes { routes }).await?;
        }
        db.commit().await?;
        writer.add(&FeedLine::End { version, tenants }).await?;
        let (file, bytes) = writer.seal(tenancy).await?;
        Ok(Self { version, file, bytes })
    }

    /// The next piece from `at` on; `None` after the last.
    pub async fn piece(self: &Arc<Self>, at: u64) -> Result<Option<Bytes>, Error> {
        let left = usize::try_from(self.bytes.saturating_sub(at)).unwrap_or(usize::MAX);
        if left == 0 {
            return Ok(None);
        }
        let spool = Arc::clone(self);
        let read = tokio::task::spawn_blocking(move || {
            let mut piece = vec![0; left.min(PIECE)];
            spool.file.read_exact_at(&mut piece, at).map(|()| piece)
        });
        let piece = read.await.map_err(|_| Error::Broken("interrupted"))?.map_err(Error::Spool)?;
        Ok(Some(piece.into()))
    }
}
