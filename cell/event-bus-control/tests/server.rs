//! Against a real server, with the users and permissions of the contracts.

#![allow(clippy::unwrap_used, reason = "a test's own steps may panic")]

use std::time::Duration;

use contracts::events::{SINK_COMMITTED, STREAM_CHANGED, SinkCommitted, StreamChanged};
use contracts::{Envelope, TenantId};
use event_bus_control::{ControlBus, contract};
use kit::outbox::{Outgoing, Publisher};
use kit::service::NatsEndpoint;
use time::OffsetDateTime;
use uuid::Uuid;

/// Bounds a hang.
const WAIT: Duration = Duration::from_secs(60);

async fn endpoint(user: &str) -> NatsEndpoint {
    testkit::nats().await.unwrap().endpoint(user).unwrap()
}

fn changed(name: &str) -> Outgoing {
    let tenant = TenantId::new("acme").unwrap();
    let event_id = Uuid::now_v7();
    let envelope = Envelope {
        event_id,
        event_type: STREAM_CHANGED.to_owned(),
        tenant: tenant.clone(),
        occurred_at: OffsetDateTime::now_utc(),
        correlation_id: "r".to_owned(),
        causation_id: None,
        traceparent: None,
        payload: StreamChanged { stream: Uuid::now_v7(), name: name.to_owned(), schema_version: 1, deleted: false },
    };
    let envelope = serde_json::to_string(&envelope).unwrap();
    Outgoing {
        event: STREAM_CHANGED.to_owned(),
        tenant,
        key: "k".to_owned(),
        event_id,
        envelope,
        headers: Default::default(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_arrives_once_is_acknowledged_and_another_users_subject_is_refused() {
    let contracts = testkit::nats().await.unwrap().contracts_endpoint().unwrap();
    contract::apply(&contracts).await.unwrap();
    assert_eq!(contract::apply(&contracts).await.unwrap(), Vec::<String>::new());
    assert_eq!(contract::drift(&contracts).await.unwrap(), Vec::<String>::new());

    let streaming = ControlBus::connect(&endpoint("streaming").await, "streaming").await.unwrap();
    let sink = ControlBus::connect(&endpoint("ingestion-replication").await, "ingestion-replication").await.unwrap();
    let mut events = sink.events::<StreamChanged>(STREAM_CHANGED).unwrap();

    let (first, second) = (changed("first"), changed("second"));
    // The same event twice: the server drops the repeat.
    streaming.publish(&[first.clone(), first.clone(), second.clone()]).await.unwrap();
    let mut ours = Vec::new();
    while ours.len() < 2 {
        let delivery = tokio::time::timeout(WAIT, events.next()).await.unwrap();
        let id = delivery.envelope.event_id;
        delivery.ack().await.unwrap();
        if [first.event_id, second.event_id].contains(&id) {
            ours.push(id);
        }
    }
    assert_eq!(ours, [first.event_id, second.event_id]);

    let third = changed("third");
    streaming.publish(std::slice::from_ref(&third)).await.unwrap();
    let delivery = tokio::time::timeout(WAIT, events.next()).await.unwrap();
    // A repeat of the earlier ones would have come before.
    assert_eq!((delivery.envelope.event_id, delivery.attempt), (third.event_id, 1));
    delivery.retry_after(Duration::from_millis(100)).await.unwrap();
    let again = tokio::time::timeout(WAIT, events.next()).await.unwrap();
    assert_eq!((again.envelope.event_id, again.attempt), (third.event_id, 2));
    again.ack().await.unwrap();

    // The sink may not speak for streaming, nor streaming read what only the sink may.
    assert!(sink.publish(&[changed("forged")]).await.is_err());
    let fourth = changed("fourth");
    streaming.publish(std::slice::from_ref(&fourth)).await.unwrap();
    let delivery = tokio::time::timeout(WAIT, events.next()).await.unwrap();
    assert_eq!(delivery.envelope.event_id, fourth.event_id, "the forged one would have come before");
    assert!(streaming.events::<StreamChanged>(STREAM_CHANGED).is_err());
    assert!(streaming.events::<SinkCommitted>(SINK_COMMITTED).is_ok());
}
