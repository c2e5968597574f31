//! What the sink reports, handled once.

use contracts::events::{SINK_COMMITTED, SinkCommitted};
use event_bus_control::{ControlBus, ControlBusError, ControlDelivery};
use kit::database::{Database, DatabaseError};
use kit::inbox;
use kit::tasks::{Policy, Tasks};

use crate::store;

/// Name of this consumer in the inbox.
const CONSUMER: &str = "sink-committed";

pub fn follow_sink(tasks: &Tasks, bus: &ControlBus, database: Database) -> Result<(), ControlBusError> {
    let mut events = bus.events::<SinkCommitted>(SINK_COMMITTED)?;
    let stopping = tasks.stopping();
    tasks.spawn("sink reports", Policy::EndProcess, async move {
        loop {
            let delivery = tokio::select! {
                () = stopping.cancelled() => return Ok(()),
                delivery = events.next() => delivery,
            };
            // Not acknowledged, it comes again after the ack window.
            match handle(&database, &delivery).await {
                Ok(()) => {
                    if let Err(error) = delivery.ack().await {
                        tracing::warn!(error = %kit::fault::chain(&error), "a sink report stays unacknowledged");
                    }
                }
                Err(error) => tracing::warn!(error = %kit::fault::chain(&error), "a sink report waits"),
            }
        }
    });
    Ok(())
}

async fn handle(database: &Database, delivery: &ControlDelivery<SinkCommitted>) -> Result<(), DatabaseError> {
    let (envelope, report) = (&delivery.envelope, &delivery.envelope.payload);
    let mut tx = database.begin_system().await?;
    if inbox::first_time(&mut tx, CONSUMER, envelope.event_id).await? {
        let rows = i64::try_from(report.total_rows).unwrap_or(i64::MAX);
        store::set_committed(&mut tx, &envelope.tenant, report.stream, &report.table, rows).await?;
    }
    tx.commit().await
}
