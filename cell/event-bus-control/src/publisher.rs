//! The control bus as the outbox relay sees it.

use async_nats::jetstream::message::PublishMessage;
use async_trait::async_trait;
use contracts::nats::subject;
use kit::outbox::{BusKind, Outgoing, PublishError, Publisher};

use crate::connection::declared;
use crate::{ControlBus, ControlBusError};

#[async_trait]
impl Publisher for ControlBus {
    fn bus(&self) -> BusKind {
        BusKind::Control
    }

    async fn publish(&self, outgoing: &[Outgoing]) -> Result<(), PublishError> {
        publish(self, outgoing).await.map_err(|error| PublishError(Box::new(error)))
    }
}

/// Sends all, then awaits every acknowledgement: one round trip for a batch.
async fn publish(bus: &ControlBus, outgoing: &[Outgoing]) -> Result<(), ControlBusError> {
    let mut acknowledgements = Vec::with_capacity(outgoing.len());
    for event in outgoing {
        let (_, domain, name) = declared(&event.event)?;
        let message = PublishMessage::build()
            // The server drops a repeat within its duplicate window; beyond it consumers do.
            .message_id(event.event_id.to_string())
            .expected_stream(contracts::nats::stream_name(domain))
            .payload(event.envelope.clone().into_bytes().into());
        let refused =
            |source| ControlBusError::NotAcknowledged { event: event.event.clone(), source: Box::new(source) };
        let sent =
            bus.jetstream().send_publish(subject(domain, name, &event.tenant), message).await.map_err(refused)?;
        acknowledgements.push((event, sent));
    }
    for (event, acknowledgement) in acknowledgements {
        acknowledgement.await.map_err(|source| ControlBusError::NotAcknowledged {
            event: event.event.clone(),
            source: Box::new(source),
        })?;
    }
    Ok(())
}
