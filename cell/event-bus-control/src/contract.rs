//! Reconciles JetStream with the declared contracts, and says where it differs.
//!
//! What a server echoes is what counts: older servers answer OK and drop fields they do not know.
//! Streams nobody declared are reported and never deleted.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, ReplayPolicy, pull};
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::stream::{Config, ConsumerErrorKind, DiscardPolicy, RetentionPolicy, StorageType};
use async_nats::jetstream::{Context, ErrorCode};
use contracts::nats::{self, Consumer, Stream};
use futures::TryStreamExt;
use kit::service::NatsEndpoint;

use crate::ControlBusError;
use crate::connection::{context, options};

/// Repeats of a `Nats-Msg-Id` within this window are dropped by the server.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);
/// Deliveries without an acknowledgement, per consumer; beyond them the server waits.
const MAX_ACK_PENDING: i64 = 256;

/// Makes the server match the contracts. `admin` may use JetStream's API. Returns what was changed.
pub async fn apply(admin: &NatsEndpoint) -> Result<Vec<String>, ControlBusError> {
    let jetstream = connect(admin).await?;
    let mut changes = Vec::new();
    for stream in nats::streams() {
        changes.extend(apply_stream(&jetstream, &stream).await?);
    }
    for consumer in nats::consumers() {
        changes.extend(apply_consumer(&jetstream, &consumer).await?);
    }
    let left = differences(&jetstream).await?;
    let ours: Vec<String> = left.into_iter().filter(|d| !d.ends_with(UNDECLARED)).collect();
    if ours.is_empty() {
        Ok(changes)
    } else {
        Err(ControlBusError::administration("the server did not keep what it was told", ours.join("; ")))
    }
}

/// Differences between the server and the contracts, in words; empty when there are none.
pub async fn drift(admin: &NatsEndpoint) -> Result<Vec<String>, ControlBusError> {
    differences(&connect(admin).await?).await
}

const UNDECLARED: &str = "is not declared";

async fn connect(admin: &NatsEndpoint) -> Result<Context, ControlBusError> {
    let client = options(admin).connect(&admin.url).await.map_err(ControlBusError::unavailable)?;
    Ok(context(client))
}

fn stream_config(stream: &Stream) -> Config {
    Config {
        name: stream.name.clone(),
        subjects: stream.subjects.clone(),
        max_age: Duration::from_secs(stream.max_age_seconds),
        max_messages: stream.max_messages,
        max_bytes: -1,
        max_messages_per_subject: -1,
        max_consumers: -1,
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        discard: DiscardPolicy::Old,
        num_replicas: 1,
        duplicate_window: DUPLICATE_WINDOW,
        ..Config::default()
    }
}

fn consumer_config(consumer: &Consumer) -> pull::Config {
    pull::Config {
        durable_name: Some(consumer.name.clone()),
        deliver_policy: DeliverPolicy::All,
        ack_policy: AckPolicy::Explicit,
        ack_wait: Duration::from_secs(consumer.ack_wait_seconds),
        max_deliver: consumer.max_deliver,
        filter_subject: consumer.filter_subject.clone(),
        replay_policy: ReplayPolicy::Instant,
        max_ack_pending: MAX_ACK_PENDING,
        ..pull::Config::default()
    }
}

async fn apply_stream(jetstream: &Context, stream: &Stream) -> Result<Option<String>, ControlBusError> {
    let failed =
        |error: &dyn std::error::Error| ControlBusError::administration(format!("stream {}", stream.name), error);
    match existing_stream(jetstream, &stream.name).await? {
        None => {
            jetstream.create_stream(stream_config(stream)).await.map_err(|e| failed(&e))?;
            Ok(Some(format!("stream {} created", stream.name)))
        }
        Some(echoed) => {
            if stream_differences(stream, &echoed).is_empty() {
                return Ok(None);
            }
            // Fields we do not declare stay as an operator set them.
            let config = Config {
                subjects: stream.subjects.clone(),
                max_age: Duration::from_secs(stream.max_age_seconds),
                max_messages: stream.max_messages,
                duplicate_window: DUPLICATE_WINDOW,
                discard: DiscardPolicy::Old,
                ..echoed
            };
            jetstream.update_stream(config).await.map_err(|e| failed(&e))?;
            Ok(Some(format!("stream {} updated", stream.name)))
        }
    }
}

async fn apply_consumer(jetstream: &Context, consumer: &Consumer) -> Result<Option<String>, ControlBusError> {
    let what = || format!("consumer {} of {}", consumer.name, consumer.stream);
    let existing = existing_consumer(jetstream, consumer).await?;
    let differs = existing.as_ref().map(|echoed| !consumer_differences(consumer, echoed).is_empty());
    if differs == Some(false) {
        return Ok(None);
    }
    (jetstream.create_consumer_on_stream(consumer_config(consumer), &consumer.stream).await)
        .map_err(|e| ControlBusError::administration(what(), e))?;
    Ok(Some(format!("{} {}", what(), if existing.is_some() { "updated" } else { "created" })))
}

async fn existing_stream(jetstream: &Context, name: &str) -> Result<Option<Config>, ControlBusError> {
    match jetstream.get_stream(name).await {
        Ok(found) => Ok(Some(found.cached_info().config.clone())),
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(e) if e.error_code() == ErrorCode::STREAM_NOT_FOUND => Ok(None),
            _ => Err(ControlBusError::administration(format!("stream {name}"), error)),
        },
    }
}

async fn existing_consumer(jetstream: &Context, consumer: &Consumer) -> Result<Option<pull::Config>, ControlBusError> {
    let found = jetstream.get_consumer_from_stream::<pull::Config, _, _>(&consumer.name, &consumer.stream).await;
    match found {
        Ok(found) => Ok(Some(as_pull(&found.cached_info().config))),
        Err(error) => match error.kind() {
            ConsumerErrorKind::JetStream(e) if e.error_code() == ErrorCode::CONSUMER_NOT_FOUND => Ok(None),
            _ => Err(ControlBusError::administration(format!("consumer {}", consumer.name), error)),
        },
    }
}

fn as_pull(config: &async_nats::jetstream::consumer::Config) -> pull::Config {
    pull::Config {
        ack_policy: config.ack_policy,
        ack_wait: config.ack_wait,
        max_deliver: config.max_deliver,
        filter_subject: config.filter_subject.clone(),
        max_ack_pending: config.max_ack_pending,
        ..pull::Config::default()
    }
}

async fn differences(jetstream: &Context) -> Result<Vec<String>, ControlBusError> {
    let declared = nats::streams();
    let mut found = Vec::new();
    for stream in &declared {
        match existing_stream(jetstream, &stream.name).await? {
            Some(echoed) => found.extend(stream_differences(stream, &echoed)),
            None => found.push(format!("stream {} is missing", stream.name)),
        }
    }
    for consumer in nats::consumers() {
        if found.contains(&format!("stream {} is missing", consumer.stream)) {
            continue;
        }
        match existing_consumer(jetstream, &consumer).await? {
            Some(echoed) => found.extend(consumer_differences(&consumer, &echoed)),
            None => found.push(format!("consumer {} of {} is missing", consumer.name, consumer.stream)),
        }
    }
    let names: Vec<String> = jetstream.stream_names().try_collect().await.map_err(ControlBusError::unavailable)?;
    let unknown = names.iter().filter(|name| declared.iter().all(|s| s.name != **name));
    found.extend(unknown.map(|name| format!("stream {name} {UNDECLARED}")));
    Ok(found)
}

fn stream_differences(stream: &Stream, echoed: &Config) -> Vec<String> {
    let wanted = stream_config(stream);
    let mut found = Vec::new();
    let mut compare = |field: &str, same: bool, has: String, declared: String| {
        if !same {
            found.push(format!("stream {}: {field} is {has}, declared {declared}", stream.name));
        }
    };
    let (mut has, mut want) = (echoed.subjects.clone(), wanted.subjects.clone());
    has.sort();
    want.sort();
    compare("subjects", has == want, format!("{has:?}"), format!("{want:?}"));
    compare(
        "max_age",
        echoed.max_age == wanted.max_age,
        format!("{:?}", echoed.max_age),
        format!("{:?}", wanted.max_age),
    );
    let (has, want) = (echoed.max_messages, wanted.max_messages);
    compare("max_msgs", has == want, has.to_string(), want.to_string());
    let (has, want) = (echoed.duplicate_window, wanted.duplicate_window);
    compare("duplicate_window", has == want, format!("{has:?}"), format!("{want:?}"));
    let (has, want) = (echoed.storage, wanted.storage);
    compare("storage", has == want, format!("{has:?}"), format!("{want:?}"));
    let (has, want) = (echoed.retention, wanted.retention);
    compare("retention", has == want, format!("{has:?}"), format!("{want:?}"));
    let (has, want) = (echoed.discard, wanted.discard);
    compare("discard", has == want, format!("{has:?}"), format!("{want:?}"));
    found
}

fn consumer_differences(consumer: &Consumer, echoed: &pull::Config) -> Vec<String> {
    let wanted = consumer_config(consumer);
    let mut found = Vec::new();
    let mut compare = |field: &str, same: bool, has: String, declared: String| {
        if !same {
            found.push(format!("consumer {}: {field} is {has}, declared {declared}", consumer.name));
        }
    };
    let (has, want) = (&echoed.filter_subject, &wanted.filter_subject);
    compare("filter_subject", has == want, has.clone(), want.clone());
    let (has, want) = (echoed.ack_wait, wanted.ack_wait);
    compare("ack_wait", has == want, format!("{has:?}"), format!("{want:?}"));
    let (has, want) = (echoed.max_deliver, wanted.max_deliver);
    compare("max_deliver", has == want, has.to_string(), want.to_string());
    let (has, want) = (echoed.ack_policy, wanted.ack_policy);
    compare("ack_policy", has == want, format!("{has:?}"), format!("{want:?}"));
    let (has, want) = (echoed.max_ack_pending, wanted.max_ack_pending);
    compare("max_ack_pending", has == want, has.to_string(), want.to_string());
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_the_server_dropped_is_drift() {
        let stream = &nats::streams()[0];
        let mut echoed = stream_config(stream);
        assert!(stream_differences(stream, &echoed).is_empty());
        echoed.duplicate_window = Duration::ZERO;
        echoed.max_messages = -1;
        assert_eq!(stream_differences(stream, &echoed).len(), 2);
    }

    #[test]
    fn a_consumer_that_acknowledges_by_itself_is_drift() {
        let consumer = &nats::consumers()[0];
        let mut echoed = consumer_config(consumer);
        assert!(consumer_differences(consumer, &echoed).is_empty());
        echoed.ack_policy = AckPolicy::None;
        assert_eq!(consumer_differences(consumer, &echoed).len(), 1);
    }
}
