//! Waiting until the service's consumers have dealt with what was there for them.

use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use async_trait::async_trait;
use contracts::TenantId;
use contracts::events::{Bus, EVENTS};
use kit::moving::{Round, Settles, Unsettled};

use crate::{ControlBus, ControlBusError};

const LOOK_EVERY: Duration = Duration::from_millis(20);

#[async_trait]
impl Settles for ControlBus {
    fn name(&self) -> String {
        "the control bus".to_owned()
    }

    /// Others' events are waited for too: they stand between the tenant's.
    async fn settle(&self, _tenant: &TenantId, _: Round) -> Result<(), Unsettled> {
        for event in EVENTS.iter().filter(|event| event.consumers.contains(&self.service())) {
            if let Bus::Control { domain, event } = event.bus {
                let stream = contracts::nats::stream_name(domain);
                let consumer = contracts::nats::consumer_name(self.service(), event);
                self.caught_up(&stream, &consumer).await?;
            }
        }
        Ok(())
    }
}

impl ControlBus {
    async fn caught_up(&self, stream: &str, consumer: &str) -> Result<(), ControlBusError> {
        let found = self.jetstream().get_consumer_from_stream(consumer, stream).await;
        let mut consumer: PullConsumer = found.map_err(ControlBusError::unavailable)?;
        let mut reach = None;
        loop {
            let info = consumer.info().await.map_err(ControlBusError::unavailable)?;
            if info.num_pending == 0 && info.num_ack_pending == 0 {
                return Ok(());
            }
            // What is to be delivered now gets the next numbers; a redelivery takes one too, and is waited for.
            let end = *reach.get_or_insert(info.delivered.consumer_sequence + info.num_pending);
            if info.ack_floor.consumer_sequence >= end {
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}
