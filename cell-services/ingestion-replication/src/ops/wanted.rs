//! Rows that somebody waits for: a tenant leaves, and what it has pushed is to be in its tables first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use contracts::TenantId;
use event_bus_data::LagMeter;
use kit::moving;
use kit::moving::{Settles, Unsettled};
use tokio::sync::{mpsc, oneshot};

use crate::domain::round::{Key, Round};

/// Tenants that ask before the sink hears of them.
const ASKING: usize = 64;

/// The rows of a tenant that are on the topic.
pub struct Wish {
    pub tenant: TenantId,
    /// Partitions of which the group has not dealt with all, and where they ended when it was wished.
    pub open: BTreeMap<i32, i64>,
    /// Hears of the partitions that this member has read so far, once the tenant's rows in them are in their tables.
    pub answer: oneshot::Sender<BTreeSet<i32>>,
}

/// What the sink is waited for.
pub struct Wishes {
    coming: mpsc::Receiver<Wish>,
    waiting: Vec<Wish>,
}

pub fn wishes() -> (mpsc::Sender<Wish>, Wishes) {
    let (ask, coming) = mpsc::channel(ASKING);
    (ask, Wishes { coming, waiting: Vec::new() })
}

impl Wishes {
    /// Returns when another one has come. Cancellation safe.
    pub async fn come(&mut self) {
        match self.coming.recv().await {
            Some(wish) => self.waiting.push(wish),
            None => std::future::pending().await,
        }
    }

    pub fn are_any(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whose rows are waited for.
    pub fn tenants(&self) -> impl Iterator<Item = &TenantId> {
        self.waiting.iter().map(|wish| &wish.tenant)
    }

    /// Whether one of them needs what has not been read yet. `own`: this member's partitions.
    pub fn want_more(&self, round: &Round, own: &BTreeSet<i32>) -> bool {
        self.waiting.iter().any(|wish| !wish.is_read(round, own))
    }

    /// Takes those whose rows are in their tables, and forgets those for which nobody waits any more.
    pub fn take_fulfilled(&mut self, round: &Round, own: &BTreeSet<i32>, committing: &BTreeSet<Key>) -> Vec<Wish> {
        let busy = |tenant: &TenantId| {
            round.has_rows_of(tenant) || committing.iter().any(|(committed, _)| committed == tenant)
        };
        self.waiting.retain(|wish| !wish.answer.is_closed());
        self.waiting.extract_if(.., |wish| wish.is_read(round, own) && !busy(&wish.tenant)).collect()
    }
}

impl Wish {
    fn is_read(&self, round: &Round, own: &BTreeSet<i32>) -> bool {
        self.open.iter().all(|(partition, end)| !own.contains(partition) || reached(round, *partition, *end))
    }

    /// Says which of its partitions this member has read.
    pub fn fulfil(self, round: &Round) {
        let read = self.open.iter().filter(|(partition, end)| reached(round, **partition, **end));
        // Whoever has gone meanwhile needs no answer.
        let _ = self.answer.send(read.map(|(partition, _)| *partition).collect());
    }
}

fn reached(round: &Round, partition: i32, end: i64) -> bool {
    round.next().get(&partition).is_some_and(|next| *next >= end)
}

/// How the cell waits for the sink.
pub struct Wanted {
    pub ask: mpsc::Sender<Wish>,
    pub meter: Arc<LagMeter>,
}

#[async_trait]
impl Settles for Wanted {
    fn name(&self) -> String {
        "the sink".to_owned()
    }

    /// Only the tenant's own rows are waited for, where this process reads; what other members of the group read, with
    /// all others' rows.
    async fn settle(&self, tenant: &TenantId, round: moving::Round) -> Result<(), Unsettled> {
        // Rows come from requests only, and none has been let in since.
        if round == moving::Round::Next {
            return Ok(());
        }
        let mut open = self.meter.open().await?;
        if !open.is_empty() {
            let (answer, heard) = oneshot::channel();
            self.ask.send(Wish { tenant: tenant.clone(), open: open.clone(), answer }).await?;
            let read = heard.await?;
            open.retain(|partition, _| !read.contains(partition));
        }
        Ok(self.meter.passes(&open).await?)
    }
}
