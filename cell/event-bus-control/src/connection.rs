//! How a service reaches JetStream: its own user, its own inbox.

use std::time::Duration;

use async_nats::jetstream::{self, Context};
use async_nats::{Client, ConnectOptions, Event};
use contracts::events::{self, Bus, EventDeclaration};
use kit::deliveries::Deliveries;
use kit::service::NatsEndpoint;
use serde::de::DeserializeOwned;

use crate::ControlBusError;
use crate::consumer::ControlConsumer;

/// A publish that JetStream has not acknowledged by then is tried again by its outbox.
const ACK_DEADLINE: Duration = Duration::from_secs(5);
/// Publishes on their way without an acknowledgement; beyond them a publisher waits.
const MAX_IN_FLIGHT: usize = 1024;
const MAX_RECONNECT_PAUSE: Duration = Duration::from_secs(2);

/// One service's connection. Cheap to clone; it comes back by itself when the server does.
#[derive(Clone)]
pub struct ControlBus {
    service: &'static str,
    jetstream: Context,
    deliveries: Deliveries,
}

impl ControlBus {
    /// Returns without waiting for the server: a cell starts in any order.
    pub async fn connect(endpoint: &NatsEndpoint, service: &'static str) -> Result<Self, ControlBusError> {
        let client = options(endpoint).retry_on_initial_connect().connect(&endpoint.url).await;
        let jetstream = context(client.map_err(ControlBusError::unavailable)?);
        Ok(Self { service, jetstream, deliveries: Deliveries::default() })
    }

    /// The same, its consumers seen.
    pub fn watched(self, deliveries: Deliveries) -> Self {
        Self { deliveries, ..self }
    }

    /// The durable consumer that the contracts declare for this service and event.
    pub fn events<P: DeserializeOwned>(&self, event: &str) -> Result<ControlConsumer<P>, ControlBusError> {
        let (declaration, domain, name) = declared(event)?;
        if !declaration.consumers.contains(&self.service) {
            return Err(ControlBusError::Undeclared(format!("{} as a consumer of {event}", self.service)));
        }
        let stream = contracts::nats::stream_name(domain);
        let consumer = contracts::nats::consumer_name(self.service, name);
        Ok(ControlConsumer::new(self.jetstream.clone(), stream, consumer, self.deliveries.clone()))
    }

    pub(crate) fn service(&self) -> &'static str {
        self.service
    }

    pub(crate) fn jetstream(&self) -> &Context {
        &self.jetstream
    }
}

/// A declared control event with its domain and short name.
pub(crate) fn declared(name: &str) -> Result<(&'static EventDeclaration, &'static str, &'static str), ControlBusError> {
    let undeclared = || ControlBusError::Undeclared(name.to_owned());
    let declaration = events::find(name).ok_or_else(undeclared)?;
    match declaration.bus {
        Bus::Control { domain, event } => Ok((declaration, domain, event)),
        Bus::Data { .. } => Err(undeclared()),
    }
}

/// A user's replies come to inboxes of its own; the server denies every other.
pub(crate) fn options(endpoint: &NatsEndpoint) -> ConnectOptions {
    ConnectOptions::with_user_and_password(endpoint.username.clone(), endpoint.password.expose().to_owned())
        .name(&endpoint.username)
        .custom_inbox_prefix(contracts::nats::inbox_prefix(&endpoint.username))
        .connection_timeout(Duration::from_secs(5))
        .request_timeout(Some(ACK_DEADLINE))
        .ping_interval(Duration::from_secs(10))
        .reconnect_delay_callback(|attempt| {
            let doublings = u32::try_from(attempt).unwrap_or(u32::MAX).min(8);
            Duration::from_millis(10 << doublings).min(MAX_RECONNECT_PAUSE)
        })
        .event_callback(|event| async move {
            match event {
                Event::Connected => tracing::info!("control bus connected"),
                // A refused subject arrives here and nowhere else.
                Event::ServerError(error) => tracing::error!(%error, "control bus refused something"),
                other => tracing::warn!(event = %other, "control bus"),
            }
        })
}

pub(crate) fn context(client: Client) -> Context {
    jetstream::context::ContextBuilder::new()
        .timeout(ACK_DEADLINE)
        .ack_timeout(ACK_DEADLINE)
        .max_ack_inflight(MAX_IN_FLIGHT)
        .backpressure_on_inflight(true)
        .build(client)
}
