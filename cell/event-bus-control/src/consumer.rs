//! Pulling events: bounded, explicitly acknowledged, given up after the declared number of tries.

use std::marker::PhantomData;
use std::time::Duration;

use async_nats::jetstream::consumer::{PullConsumer, pull};
use async_nats::jetstream::{AckKind, Context, Message};
use contracts::Envelope;
use futures::StreamExt;
use kit::deliveries::{Deliveries, Handling};
use serde::de::DeserializeOwned;

use crate::ControlBusError;

/// Messages asked for ahead: what a crash makes the server deliver again after the ack window.
const PULL: usize = 16;
const PULL_EXPIRES: Duration = Duration::from_secs(30);
/// A server that is silent for twice this long is taken for gone.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Pause after the server could not be asked.
const RETRY: Duration = Duration::from_secs(1);

pub struct ControlConsumer<P> {
    jetstream: Context,
    stream: String,
    name: String,
    /// One standing pull: letting go of it early would send its messages nowhere.
    messages: Option<pull::Stream>,
    deliveries: Deliveries,
    payload: PhantomData<fn() -> P>,
}

/// One event, not yet acknowledged. Dropped without a word it comes back after the ack window.
pub struct ControlDelivery<P> {
    pub envelope: Envelope<P>,
    /// 1 the first time.
    pub attempt: i64,
    message: Message,
    handling: Handling,
}

impl<P: DeserializeOwned> ControlConsumer<P> {
    pub(crate) fn new(jetstream: Context, stream: String, name: String, deliveries: Deliveries) -> Self {
        Self { jetstream, stream, name, messages: None, deliveries, payload: PhantomData }
    }

    /// Waits for the next event, however long the server is away. A message that is no envelope of
    /// this event is terminated, logged and passed over. Cancellation safe: what was pulled stays.
    pub async fn next(&mut self) -> ControlDelivery<P> {
        loop {
            match self.pull().await {
                Ok(message) => {
                    if let Some(delivery) = decode(&self.name, &self.deliveries, message).await {
                        return delivery;
                    }
                }
                Err(error) => {
                    tracing::warn!(consumer = self.name, error = %kit::fault::chain(&error), "control events wait");
                    self.messages = None;
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    async fn pull(&mut self) -> Result<Message, ControlBusError> {
        let messages = match &mut self.messages {
            Some(messages) => messages,
            None => {
                let opened = open(&self.jetstream, &self.name, &self.stream).await?;
                self.messages.insert(opened)
            }
        };
        match messages.next().await {
            Some(Ok(message)) => Ok(message),
            Some(Err(error)) => Err(ControlBusError::unavailable(error)),
            None => Err(ControlBusError::unavailable("the pull ended")),
        }
    }
}

async fn open(jetstream: &Context, consumer: &str, stream: &str) -> Result<pull::Stream, ControlBusError> {
    let consumer: PullConsumer =
        jetstream.get_consumer_from_stream(consumer, stream).await.map_err(ControlBusError::unavailable)?;
    let pulling = consumer.stream().max_messages_per_batch(PULL).expires(PULL_EXPIRES).heartbeat(HEARTBEAT);
    pulling.messages().await.map_err(ControlBusError::unavailable)
}

async fn decode<P: DeserializeOwned>(
    consumer: &str,
    deliveries: &Deliveries,
    message: Message,
) -> Option<ControlDelivery<P>> {
    let attempt = message.info().map_or(1, |info| info.delivered);
    match serde_json::from_slice::<Envelope<P>>(&message.payload) {
        Ok(envelope) => {
            let handling = deliveries.begin(&envelope);
            Some(ControlDelivery { envelope, attempt, message, handling })
        }
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
        self.message.double_ack().await.map_err(ControlBusError::Unavailable)?;
        self.handling.done();
        Ok(())
    }

    /// What the consumer does for the event belongs below this span.
    pub fn span(&self) -> &trace::Span {
        &self.handling.span
    }

    /// Not now: the server delivers it again after `pause`.
    pub async fn retry_after(self, pause: Duration) -> Result<(), ControlBusError> {
        self.message.ack_with(AckKind::Nak(Some(pause))).await.map_err(ControlBusError::Unavailable)
    }

    /// Never: the server does not deliver it again.
    pub async fn give_up(mut self, reason: &str) -> Result<(), ControlBusError> {
        tracing::error!(event = self.envelope.event_type, event_id = %self.envelope.event_id, reason, "control event given up");
        self.handling.span.fail("given-up");
        self.message.ack_with(AckKind::Term).await.map_err(ControlBusError::Unavailable)
    }
}
