//! Leads moves: does the step that is written down, writes the next one down, and so on to the end.
//!
//! Invariant: whatever was done is found in the database, and every step can be done again. So a leader that dies is
//! followed by another, which begins with the step at which the first one stopped.

mod journal;
mod turns;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use contracts::{CellId, Generation, TenantId};
use kit::moving::Round;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::Tenancy;
use crate::domain::moving::{Step, copies_again};
use crate::error::Error;
use crate::ops::moves::carried_at;
use crate::store;
use crate::store::moves::Move;

pub use journal::Journal;
pub use turns::Turns;

/// Rounds of settling: what a request leaves behind passes through two services at most, and each round carries it
/// through one.
const ROUNDS: usize = 3;

/// A cell's `tenant-move`, as the leader asks it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Serialize, serde::Deserialize))]
pub enum Request {
    /// The cell may give the tenant to `to`.
    Promise {
        to: CellId,
    },
    /// `generation`: at which the tenant is in `from`.
    Copy {
        from: CellId,
        generation: Generation,
    },
    Close,
    Fence {
        generation: Generation,
    },
    Settle {
        round: Round,
    },
    Carry {
        from: CellId,
        generation: Generation,
    },
    Clean {
        generation: Generation,
    },
}

/// Why a cell did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// The way to the cells.
#[async_trait]
pub trait Cells: Send + Sync {
    /// Answers how many objects were brought, where any are.
    async fn ask(&self, cell: &CellId, tenant: &TenantId, request: Request) -> Result<u64, Refused>;
}

/// Moves of this process that are being led.
#[derive(Debug, Default)]
pub struct Led(Mutex<HashSet<Uuid>>);

/// What stopped a step.
#[derive(Debug, thiserror::Error)]
enum Stopped {
    #[error(transparent)]
    Here(#[from] Error),
    #[error("{0}: {1}")]
    There(CellId, Refused),
}

/// Looks for moves to lead, once and for all that there are.
pub async fn look(tenancy: &Tenancy, cells: &Arc<dyn Cells>, tasks: &kit::tasks::Tasks) -> Result<(), Error> {
    let places = Arc::new(Semaphore::new(tenancy.0.settings.moves_at_once));
    loop {
        if tenancy.is_writer() {
            for found in store::moves::under_way(&mut *tenancy.0.pool.acquire().await?).await? {
                if let Some(alone) = Alone::with(tenancy, found.id) {
                    lead(alone, Arc::clone(cells), Arc::clone(&places), found, tasks);
                }
            }
        }
        let _ = tokio::time::timeout(Duration::from_secs(1), tenancy.0.moves_wanted.notified()).await;
    }
}

/// One leader of a move in this process, however it ends.
struct Alone {
    tenancy: Tenancy,
    id: Uuid,
}

impl Alone {
    fn with(tenancy: &Tenancy, id: Uuid) -> Option<Self> {
        tenancy.0.led.0.lock().insert(id).then(|| Self { tenancy: tenancy.clone(), id })
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        self.tenancy.0.led.0.lock().remove(&self.id);
    }
}

fn lead(alone: Alone, cells: Arc<dyn Cells>, places: Arc<Semaphore>, found: Move, tasks: &kit::tasks::Tasks) {
    let stopping = tasks.stopping();
    tasks.spawn("tenancy: a move", kit::tasks::Policy::Once, async move {
        let _place = places.acquire_owned().await;
        let ended = tokio::select! {
            () = stopping.cancelled() => Ok(()),
            ended = to_the_end(&alone.tenancy, cells.as_ref(), &alone.tenancy.0.turns, found) => ended,
        };
        // Another process leads now, or the next look finds where it stands.
        if let Err(error) = ended {
            tracing::info!(id = %alone.id, %error, "a move is led on from what is written down");
        }
        Ok(())
    });
}

/// Leads a move until it is over, or another process leads it.
pub(crate) async fn to_the_end(
    journal: &dyn Journal,
    cells: &dyn Cells,
    turns: &Turns,
    found: Move,
) -> Result<(), Error> {
    let leader = Leader::of(journal, cells, &found)?;
    let (mut step, mut turn) = (found.step()?, None);
    while !step.is_over() {
        // One that is found later on its way waits already.
        if step == Step::Close && turn.is_none() {
            turn = Some(turns.take(&leader.source, &leader.target).await);
        } else if step == Step::Clean {
            turn = None;
        }
        step = match leader.take(step).await {
            Ok(next) => {
                tracing::info!(tenant = %leader.tenant, id = %found.id, step = next.name(), "a move has come to its next step");
                next
            }
            Err(Stopped::Here(error @ (Error::Overtaken | Error::NotWriter))) => return Err(error),
            Err(error) => {
                // Whatever is the matter with it, the others go on.
                turn = None;
                tracing::warn!(tenant = %leader.tenant, id = %found.id, step = step.name(), %error, "a step is tried again");
                journal.complain(found.id, &error.to_string()).await?;
                tokio::time::sleep(journal.pause()).await;
                leader.now().await?
            }
        };
    }
    Ok(())
}

struct Leader<'a> {
    journal: &'a dyn Journal,
    cells: &'a dyn Cells,
    id: Uuid,
    tenant: TenantId,
    source: CellId,
    target: CellId,
}

impl<'a> Leader<'a> {
    fn of(journal: &'a dyn Journal, cells: &'a dyn Cells, found: &Move) -> Result<Self, Error> {
        use crate::store::routing::ill_formed;
        Ok(Self {
            journal,
            cells,
            id: found.id,
            tenant: TenantId::new(found.tenant.clone()).map_err(ill_formed)?,
            source: CellId::new(found.source.clone()).map_err(ill_formed)?,
            target: CellId::new(found.target.clone()).map_err(ill_formed)?,
        })
    }

    /// Where the move stands now: somebody may have cancelled it.
    async fn now(&self) -> Result<Step, Error> {
        self.journal.read(self.id).await?.step()
    }

    async fn generation(&self) -> Result<Generation, Error> {
        let generation = self.journal.read(self.id).await?.generation;
        Ok(Generation(generation.ok_or(Error::Broken("a move past its close has no generation"))?.unsigned_abs()))
    }

    async fn ask(&self, cell: &CellId, request: Request) -> Result<u64, Stopped> {
        let answer = self.cells.ask(cell, &self.tenant, request).await;
        answer.map_err(|refused| Stopped::There(cell.clone(), refused))
    }

    /// Does one step and writes down that it is done.
    async fn take(&self, step: Step) -> Result<Step, Stopped> {
        match step {
            Step::Copy => self.copy().await?,
            Step::Close => {
                self.journal.close(self.id).await?;
                self.ask(&self.source, Request::Close).await?;
            }
            Step::Fence => {
                let generation = carried_at(self.generation().await?);
                self.ask(&self.source, Request::Fence { generation }).await?;
            }
            Step::Settle => {
                for round in 0..ROUNDS {
                    let round = if round == 0 { Round::First } else { Round::Next };
                    self.ask(&self.source, Request::Settle { round }).await?;
                }
            }
            Step::Carry => {
                let (from, generation) = (self.source.clone(), carried_at(self.generation().await?));
                self.promise().await?;
                self.ask(&self.target, Request::Carry { from, generation }).await?;
            }
            Step::Switch => {
                // Before anybody is let in: from here on nothing can be carried over what they write.
                let generation = self.generation().await?;
                self.ask(&self.target, Request::Fence { generation }).await?;
                return Ok(self.journal.switch(self.id).await?);
            }
            Step::Clean => {
                let generation = carried_at(self.generation().await?);
                self.ask(&self.source, Request::Clean { generation }).await?;
            }
            Step::Back => {
                // Whatever it is now: nothing of the tenant's is written there.
                let generation = self.journal.placed_at(&self.tenant).await?;
                self.ask(&self.target, Request::Clean { generation }).await?;
            }
            Step::Done | Step::Cancelled => return Ok(step),
        }
        Ok(self.journal.advance(self.id, step).await?)
    }

    async fn promise(&self) -> Result<(), Stopped> {
        self.ask(&self.source, Request::Promise { to: self.target.clone() }).await.map(drop)
    }

    async fn copy(&self) -> Result<(), Stopped> {
        self.promise().await?;
        self.ask(&self.source, Request::Settle { round: Round::Before }).await?;
        for pass in 1.. {
            let (from, generation) = (self.source.clone(), self.journal.placed_at(&self.tenant).await?);
            let brought = self.ask(&self.target, Request::Copy { from, generation }).await?;
            if !copies_again(pass, brought) || self.now().await? != Step::Copy {
                break;
            }
        }
        Ok(())
    }
}
