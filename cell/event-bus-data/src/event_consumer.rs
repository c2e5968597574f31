//! Envelopes off the data bus, for consumers that keep their own state in Postgres.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::time::Duration;

use contracts::Envelope;
use futures::future::BoxFuture;
use kit::database::{Database, Tx};
use kit::deliveries::{Deliveries, Handling};
use kit::fault::chain;
use kit::tasks::{Policy, Tasks};
use serde::de::DeserializeOwned;

use crate::consumer::{DataConsumer, RecordView};
use crate::dead_letter::{OwnedLetter, Reason};
use crate::{BusError, DataBus, OpenLineage, Position};

/// Events stored in one transaction.
const BATCH: usize = 200;
const WAIT: Duration = Duration::from_secs(1);
const RETRY: Duration = Duration::from_millis(500);

/// One event as it came.
#[derive(Debug, Clone)]
pub struct Delivery<P> {
    pub envelope: Envelope<P>,
    pub lineage: OpenLineage,
    pub position: Position,
    letter: OwnedLetter,
}

/// Why an event was not stored.
#[derive(Debug)]
pub enum NotStored {
    /// It never will be: it goes to the dead letters, with this reason. To be said before anything is written.
    Unsound { code: &'static str, detail: String },
    /// Not at the moment: the whole batch is tried again.
    Later(Box<dyn std::error::Error + Send + Sync>),
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for NotStored {
    fn from(error: E) -> Self {
        Self::Later(Box::new(error))
    }
}

/// What a store step returns.
pub type Storing<'a> = BoxFuture<'a, Result<(), NotStored>>;

/// A member of a group that stores events. Delivers at least once: be idempotent by `event_id`.
pub struct EventConsumer<P> {
    bus: DataBus,
    consumer: DataConsumer,
    payload: PhantomData<fn() -> P>,
}

/// What was read, and how far. Kept until it is dealt with: the next read begins after it.
struct Batch<P> {
    epoch: u64,
    events: Vec<Delivery<P>>,
    given_up: Vec<GivenUp>,
    /// Next offset to read, by partition.
    next: BTreeMap<i32, i64>,
}

struct GivenUp {
    letter: OwnedLetter,
    code: &'static str,
    detail: String,
}

impl<P: DeserializeOwned + Send + Sync + 'static> EventConsumer<P> {
    pub(crate) fn new(bus: DataBus, consumer: DataConsumer) -> Self {
        Self { bus, consumer, payload: PhantomData }
    }

    /// Spawns the task that hands every event to `step`, a batch in one transaction over all tenants,
    /// and commits the offsets afterwards. Records that are no envelope of this event go to the dead
    /// letters. Nothing is skipped, however long the database or the bus is away.
    pub fn store<S>(self, tasks: &Tasks, name: &'static str, database: &Database, step: S)
    where
        S: for<'a> Fn(&'a mut Tx, &'a Delivery<P>) -> Storing<'a> + Send + Sync + 'static,
    {
        let (stopping, database) = (tasks.stopping(), database.clone());
        tasks.spawn(name, Policy::EndProcess, async move {
            tokio::select! {
                () = stopping.cancelled() => Ok(()),
                never = self.run(name, &database, &step) => match never {},
            }
        });
    }

    async fn run<S>(&self, name: &str, database: &Database, step: &S) -> std::convert::Infallible
    where
        S: for<'a> Fn(&'a mut Tx, &'a Delivery<P>) -> Storing<'a> + Send + Sync,
    {
        loop {
            let mut batch = Batch::<P>::default();
            let read = self.consumer.drain(BATCH, WAIT, |epoch, record| batch.take(epoch, &record)).await;
            if let Err(error) = read {
                tracing::warn!(task = name, error = %chain(&error), "the bus does not answer");
                tokio::time::sleep(RETRY).await;
            }
            while let Err(error) = store_all(database, &self.bus.deliveries, &mut batch, step).await {
                tracing::warn!(task = name, error = %chain(error.as_ref()), "events wait for the database");
                tokio::time::sleep(RETRY).await;
            }
            for given_up in &batch.given_up {
                while let Err(error) = self.bury(given_up).await {
                    tracing::warn!(task = name, error = %chain(&error), "a dead letter waits for the bus");
                    tokio::time::sleep(RETRY).await;
                }
            }
            if let Err(error) = self.consumer.commit(&batch.next).await {
                // The same events come again and are known by their ids.
                tracing::warn!(task = name, error = %chain(&error), "offsets are committed later");
            }
        }
    }

    async fn bury(&self, given_up: &GivenUp) -> Result<(), BusError> {
        let (topic, Position { partition, offset }) = (self.consumer.topic(), given_up.letter.position);
        tracing::warn!(topic, partition, offset, code = given_up.code, "record given up");
        let reason = Reason { code: given_up.code, detail: &given_up.detail };
        self.bus.dead_letter(given_up.letter.as_letter(topic), reason).await
    }
}

/// Stores the batch's events; those that are not sound join what is given up.
async fn store_all<P, S>(
    database: &Database,
    deliveries: &Deliveries,
    batch: &mut Batch<P>,
    step: &S,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>>
where
    S: for<'a> Fn(&'a mut Tx, &'a Delivery<P>) -> Storing<'a>,
{
    if batch.events.is_empty() {
        return Ok(());
    }
    // One order of locks for all: two consumers that meet in two tenants must not wait for each other.
    batch.events.sort_by(|a, b| a.envelope.tenant.cmp(&b.envelope.tenant));
    let mut tx = database.begin_system().await?;
    let (mut unsound, mut stored) = (Vec::new(), Vec::with_capacity(batch.events.len()));
    for delivery in &batch.events {
        let mut handling = deliveries.begin(&delivery.envelope);
        match step(&mut tx, delivery).await {
            Ok(()) => stored.push(handling),
            Err(NotStored::Unsound { code, detail }) => {
                handling.span.fail(code);
                unsound.push(GivenUp { letter: delivery.letter.clone(), code, detail });
            }
            Err(NotStored::Later(error)) => return Err(error),
        }
    }
    tx.commit().await?;
    stored.into_iter().for_each(Handling::done);
    batch.given_up.append(&mut unsound);
    Ok(())
}

impl<P> Default for Batch<P> {
    fn default() -> Self {
        Self { epoch: 0, events: Vec::new(), given_up: Vec::new(), next: BTreeMap::new() }
    }
}

impl<P: DeserializeOwned> Batch<P> {
    fn take(&mut self, epoch: u64, record: &RecordView<'_>) {
        // After a rebalance the uncommitted ones come again, here or elsewhere.
        if self.epoch != epoch {
            *self = Self { epoch, ..Self::default() };
        }
        let (position, letter) = (record.position(), OwnedLetter::of(record));
        self.next.insert(position.partition, position.offset + 1);
        match decode(record) {
            Ok((lineage, envelope)) => self.events.push(Delivery { envelope, lineage, position, letter }),
            Err((code, detail)) => self.given_up.push(GivenUp { letter, code, detail }),
        }
    }
}

/// Lineage and envelope of a record, or code and detail of what is wrong with it.
fn decode<P: DeserializeOwned>(record: &RecordView<'_>) -> Result<(OpenLineage, Envelope<P>), (&'static str, String)> {
    let lineage = OpenLineage::parse(|name| record.header(name)).map_err(|error| ("headers", error.to_string()))?;
    // serde_json's message names fields and positions, and quotes at most a scalar.
    let envelope = serde_json::from_slice(record.payload()).map_err(|error| ("envelope", error.to_string()))?;
    Ok((lineage, envelope))
}
