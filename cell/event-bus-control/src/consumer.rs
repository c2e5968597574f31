//! Pulling events: bounded, explicitly acknowledged, given up after the declared number of tries.

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::{AckKind, Context, Message};
use contracts::Envelope;
use futures::{FutureExt, StreamExt};
use serde::de::DeserializeOwned;

use crate::ControlBusError;

/// Messages asked for at once: what a crash makes the server deliver again.
const PULL: usize = 16;
const PULL_EXPIRES: Duration = Duration::from_secs(15);
/// Pause after the server could not be asked.
const RETRY: Duration = Duration::from_secs(1);

pub struct ControlConsumer<P> {
    jetstream: Context,
    stream: String,
    name: String,
    consumer: Option<PullConsumer>,
    pulled: VecDeque<Message>,
    payload: PhantomData<fn() -> P>,
}

/// One event, not yet acknowledged. Dropped without a word it comes back after the ack window.
pub struct ControlDelivery<P> {
    pub envelope: Envelope<P>,
    /// 1 the first time.
    pub attempt: i64,
    message: Message,
}

impl<P: DeserializeOwned> ControlConsumer<P> {
    pub(crate) fn new(jetstream: Context, stream: String, name: String) -> Self {
        Self { jetstream, stream, name, consumer: None, pulled: VecDeque::new(), payload: PhantomData }
    }

    /// Waits for the next event, however long the server is away. A message that is no envelope of
    /// this event is terminated, logged and passed over. Cancellation safe: what was pulled stays.
    pub async fn next(&mut self) -> ControlDelivery<P> {
        loop {
            if let Some(message) = self.pulled.pop_front() {
                if let Some(delivery) = decode(&self.name, message).await {
                    return delivery;
                }
                continue;
            }
            if let Err(error) = self.pull().await {
                tracing::warn!(consumer = self.name, error = %kit::fault::chain(&error), "control events wait");
                self.consumer = None;
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    async fn pull(&mut self) -> Result<(), ControlBusError> {
        let consumer = match &self.consumer {
            Some(consumer) => consumer,
            None => {
                let found = self.jetstream.get_consumer_from_stream(&self.name, &self.stream).await;
                self.consumer.insert(found.map_err(ControlBusError::unavailable)?)
            }
        };
        let batch = consumer.batch().max_messages(PULL).expires(PULL_EXPIRES).messages().await;
        let mut batch = batch.map_err(ControlBusError::unavailable)?;
        while let Some(message) = batch.next().await {
            self.pulled.push_back(message.map_err(ControlBusError::Unavailable)?);
            // Handle what is here now instead of waiting for the batch to fill.
            while let Some(Some(more)) = batch.next().now_or_never() {
                self.pulled.push_back(more.map_err(ControlBusError::Unavailable)?);
            }
            break;
        }
        Ok(())
    }
}

async fn decode<P: DeserializeOwned>(consumer: &str, message: Message) -> Option<ControlDelivery<P>> {
    let attempt = message.info().map_or(1, |info| info.delivered);
    match serde_json::from_slice(&message.payload) {
        Ok(envelope) => Some(ControlDelivery { envelope, attempt, message }),
        Err(error) => {
            tracing::error!(consumer, subject = %message.subject, %error, "control event given up: not an envelope");
            if let Err(error) = message.ack_with(AckKind::Term).await {
                tracing::warn!(consumer, error = %error, "the giving up was not sent");
            }
            None
        }
    }
}

impl<P> ControlDelivery<P> {
    /// Done: waits until the server knows.
    pub async fn ack(self) -> Result<(), ControlBusError> {
        self.message.double_ack().await.map_err(ControlBusError::Unavailable)
    }

    /// Not now: the server delivers it again after `pause`.
    pub async fn retry_after(self, pause: Duration) -> Result<(), ControlBusError> {
        self.message.ack_with(AckKind::Nak(Some(pause))).await.map_err(ControlBusError::Unavailable)
    }

    /// Never: the server does not deliver it again.
    pub async fn give_up(self, reason: &str) -> Result<(), ControlBusError> {
        tracing::error!(event = self.envelope.event_type, event_id = %self.envelope.event_id, reason, "control event given up");
        self.message.ack_with(AckKind::Term).await.map_err(ControlBusError::Unavailable)
    }
}
