//! The data bus as the outbox relay sees it.

use async_trait::async_trait;
use kit::outbox::{BusKind, Outgoing, PublishError, Publisher};

use crate::connection::declared;
use crate::{BusError, DataBus, RecordHeaders};

#[async_trait]
impl Publisher for DataBus {
    fn bus(&self) -> BusKind {
        BusKind::Data
    }

    async fn publish(&self, outgoing: &[Outgoing]) -> Result<(), PublishError> {
        publish(self, outgoing).await.map_err(|error| PublishError(Box::new(error)))
    }
}

/// Enqueues all, then waits for all: the order within a key is the order of the outbox.
async fn publish(bus: &DataBus, outgoing: &[Outgoing]) -> Result<(), BusError> {
    let mut batches = Vec::new();
    for event in outgoing {
        let topic = declared(&event.event)?.name;
        let headers = RecordHeaders::from_map(&event.headers)?
            .with(contracts::headers::RECORD_TENANT, event.tenant.as_str())
            .with(EVENT_ID, &event.event_id.to_string());
        let at = match batches.iter().position(|(t, _)| *t == topic) {
            Some(at) => at,
            None => {
                batches.push((topic, bus.producer().batch(topic)));
                batches.len() - 1
            }
        };
        batches[at].1.send(event.key.as_bytes(), event.envelope.as_bytes(), &headers).await?;
    }
    for (_, batch) in batches {
        batch.acknowledged().await?;
    }
    Ok(())
}

/// Lets a tool tell repeats apart without decoding the envelope.
const EVENT_ID: &str = "event-id";
