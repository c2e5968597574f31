//! Streams that are made or changed get their table at once, before their first row.

use std::sync::Arc;
use std::time::Duration;

use contracts::Generation;
use contracts::events::{STREAM_CHANGED, StreamChanged};
use event_bus_control::{ControlBus, ControlBusError, ControlDelivery};
use kit::database::Database;
use kit::fault::chain;
use kit::tasks::{Policy, Tasks};

use crate::error::Error;
use crate::ops::Sink;
use crate::store;

const RETRY: Duration = Duration::from_secs(2);

pub fn follow_streams(
    tasks: &Tasks,
    bus: &ControlBus,
    sink: Arc<Sink>,
    database: Database,
) -> Result<(), ControlBusError> {
    let mut events = bus.events::<StreamChanged>(STREAM_CHANGED)?;
    let stopping = tasks.stopping();
    tasks.spawn("stream changes", Policy::EndProcess, async move {
        loop {
            let delivery = tokio::select! {
                () = stopping.cancelled() => return Ok(()),
                delivery = events.next() => delivery,
            };
            let settled = match handle(&sink, &database, &delivery).await {
                Ok(()) => delivery.ack().await,
                Err(error) if error.is_of_the_table() => delivery.give_up(&error.to_string()).await,
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "a stream's table waits");
                    delivery.retry_after(RETRY).await
                }
            };
            if let Err(error) = settled {
                tracing::warn!(error = %chain(&error), "a stream change stays unacknowledged");
            }
        }
    });
    Ok(())
}

/// Idempotent by nature: it only makes what is missing.
async fn handle(sink: &Sink, database: &Database, delivery: &ControlDelivery<StreamChanged>) -> Result<(), Error> {
    let (tenant, change) = (&delivery.envelope.tenant, &delivery.envelope.payload);
    let scope = sink.scope(tenant, Generation(0)).under(delivery.span());
    let result = make(sink, database, &scope, change).await;
    if let Err(error) = &result
        && let Some(generation) = kit::Fault::generation_required(error)
    {
        sink.generations.learn(tenant, generation);
    }
    result
}

async fn make(sink: &Sink, database: &Database, scope: &kit::Scope, change: &StreamChanged) -> Result<(), Error> {
    let mut tx = database.begin(scope).await?;
    if change.deleted {
        store::set_deleted(&mut tx, scope, change.stream).await?;
        tx.commit().await?;
        return Ok(());
    }
    // The event may be old: a stream that is gone by now gets no table, least of all a dropped one again.
    let definition = sink.definitions.fresh(scope, change.stream).await?;
    let Some(definition) = definition.filter(|d| !d.deleted) else { return Ok(()) };
    let table = sink.tables.ensure(&sink.catalog, scope, change.stream, &definition).await?;
    store::put_sink(&mut tx, scope, change.stream, &definition.name, table.name()).await?;
    tx.commit().await?;
    Ok(())
}
