//! A service at another's topic or subject is refused by the broker itself.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use contracts::{TenantId, kafka, nats};
use futures::future::join_all;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::mpsc;

use crate::world::{SHARED, World};

/// Bounds a hang.
const LIMIT: Duration = Duration::from_secs(60);

fn secret(dir: &Path, file: &str) -> anyhow::Result<String> {
    let path = dir.join("secrets").join(file);
    Ok(std::fs::read_to_string(&path).with_context(|| path.display().to_string())?.trim().to_owned())
}

fn kafka_config(world: &World, principal: &str) -> anyhow::Result<ClientConfig> {
    let address = world.site.cell_address(SHARED).context("no such cell")?;
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", format!("{address}:9092"))
        .set("security.protocol", "SASL_PLAINTEXT")
        .set("sasl.mechanism", "SCRAM-SHA-512")
        .set("sasl.username", principal)
        .set("sasl.password", secret(&world.site.cell_dir(SHARED), &format!("{principal}.kafka"))?)
        .set("message.timeout.ms", "60000")
        .set("log_level", "2");
    Ok(config)
}

fn topics(principal: &str, operation: kafka::Operation) -> BTreeSet<String> {
    let allowed = kafka::acls().into_iter().filter(|acl| acl.principal == principal && acl.operation == operation);
    allowed
        .filter_map(|acl| if let kafka::Resource::Topic { name } = acl.resource { Some(name) } else { None })
        .collect()
}

fn is_authorisation(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::{ClusterAuthorizationFailed, GroupAuthorizationFailed, TopicAuthorizationFailed};
    matches!(code, TopicAuthorizationFailed | ClusterAuthorizationFailed | GroupAuthorizationFailed)
}

/// Every principal at every topic it may not write.
pub async fn kafka_refuses_to_write_anothers_topic(world: Arc<World>) -> anyhow::Result<()> {
    for principal in kafka::principals() {
        let allowed = topics(&principal, kafka::Operation::Write);
        let producer: FutureProducer = kafka_config(&world, &principal)?.create()?;
        let foreign: Vec<String> =
            kafka::topics().into_iter().map(|t| t.name).filter(|t| !allowed.contains(t)).collect();
        let attempts = foreign.iter().map(|topic| {
            let record = FutureRecord::to(topic).key("acme-test/forged").payload("{}");
            producer.send(record, LIMIT)
        });
        for (topic, outcome) in foreign.iter().zip(join_all(attempts).await) {
            match outcome {
                Ok(_) => bail!("{principal} could write {topic}"),
                Err((KafkaError::MessageProduction(code), _)) if is_authorisation(code) => {}
                Err((error, _)) => bail!("{principal} at {topic}: {error}"),
            }
        }
    }
    Ok(())
}

pub async fn kafka_refuses_to_read_anothers_topic(world: Arc<World>) -> anyhow::Result<()> {
    for principal in kafka::principals() {
        let allowed = topics(&principal, kafka::Operation::Read);
        let mut attempts = Vec::new();
        for topic in kafka::topics().into_iter().map(|t| t.name).filter(|t| !allowed.contains(t)) {
            let mut config = kafka_config(&world, &principal)?;
            config.set("group.id", kafka::group(&principal, "test")).set("enable.auto.commit", "false");
            let consumer: BaseConsumer = config.create()?;
            attempts.push(tokio::task::spawn_blocking(move || read_is_refused(&consumer, &topic)));
        }
        for attempt in attempts {
            attempt.await?.with_context(|| principal.clone())?;
        }
    }
    Ok(())
}

/// Who may not even describe the topic is refused its metadata; who may (a producer) is refused the
/// first fetch. A record or silence is a failure.
fn read_is_refused(consumer: &BaseConsumer, topic: &str) -> anyhow::Result<()> {
    let metadata = consumer.fetch_metadata(Some(topic), LIMIT)?;
    let told = metadata.topics().first().and_then(|t| t.error()).map(RDKafkaErrorCode::from);
    if told.is_some_and(is_authorisation) {
        return Ok(());
    }
    let mut partitions = TopicPartitionList::new();
    partitions.add_partition_offset(topic, 0, Offset::Beginning)?;
    consumer.assign(&partitions)?;
    let deadline = std::time::Instant::now() + LIMIT;
    while std::time::Instant::now() < deadline {
        match consumer.poll(Duration::from_millis(500)) {
            Some(Ok(_)) => bail!("{topic} could be read"),
            Some(Err(error)) if error.rdkafka_error_code().is_some_and(is_authorisation) => return Ok(()),
            Some(Err(_)) | None => {}
        }
    }
    bail!("{topic} was not refused")
}

/// Nobody makes a topic, and nobody signs in with another's password.
pub async fn kafka_refuses_new_topics_and_wrong_passwords(world: Arc<World>) -> anyhow::Result<()> {
    let principals = kafka::principals();
    let first = principals.first().context("no principal")?;
    let admin: AdminClient<DefaultClientContext> = kafka_config(&world, first)?.create()?;
    let topic = NewTopic::new("forged.topic.made.v1", 1, TopicReplication::Fixed(1));
    let answer = admin.create_topics([&topic], &AdminOptions::new().operation_timeout(Some(LIMIT))).await?;
    let refused = answer.iter().all(|r| matches!(r, Err((_, code)) if is_authorisation(*code)));
    ensure!(refused && !answer.is_empty(), "{answer:?}");
    let config = kafka_config(&world, first)?;
    let mut guessed = config.clone();
    guessed.set("sasl.password", "guess");
    // The same question, signed in and not.
    signs_in(config, LIMIT).await?;
    ensure!(signs_in(guessed, Duration::from_secs(5)).await.is_err(), "a wrong password was accepted");
    Ok(())
}

async fn signs_in(config: ClientConfig, limit: Duration) -> anyhow::Result<()> {
    let ask = move || config.create::<BaseConsumer>()?.fetch_metadata(None, limit).map(drop);
    Ok(tokio::task::spawn_blocking(ask).await??)
}

/// A connection that tells what the server refuses.
async fn nats_as(world: &World, user: &str) -> anyhow::Result<(async_nats::Client, mpsc::UnboundedReceiver<String>)> {
    let address = world.site.cell_address(SHARED).context("no such cell")?;
    let password = secret(&world.site.cell_dir(SHARED), &format!("{user}.nats"))?;
    let (sender, receiver) = mpsc::unbounded_channel();
    let options = async_nats::ConnectOptions::with_user_and_password(user.to_owned(), password)
        .custom_inbox_prefix(nats::inbox_prefix(user))
        .event_callback(move |event| {
            let sender = sender.clone();
            async move {
                // The test may have ended already.
                let _sent = sender.send(event.to_string());
            }
        });
    Ok((options.connect(format!("nats://{address}:4222")).await?, receiver))
}

/// Waits until the server says that this subject was refused.
async fn violation(events: &mut mpsc::UnboundedReceiver<String>, subject: &str) -> anyhow::Result<()> {
    let named = format!("\"{subject}\"").to_lowercase();
    let wait = async {
        while let Some(event) = events.recv().await {
            let event = event.to_lowercase();
            if event.contains("permissions violation") && event.contains(&named) {
                return Ok(());
            }
        }
        bail!("the connection ended")
    };
    tokio::time::timeout(LIMIT, wait).await.with_context(|| format!("{subject} was not refused"))?
}

/// Every user at the subjects of every other one, at other users' inboxes and at the stream API.
pub async fn nats_refuses_anothers_subject(world: Arc<World>) -> anyhow::Result<()> {
    let tenant = TenantId::new(world.acme.id.as_str())?;
    let users = nats::permissions();
    for user in &users {
        let (client, mut events) = nats_as(&world, &user.user).await?;
        let mut subjects: Vec<String> = contracts::events::EVENTS
            .iter()
            .filter(|event| !event.producers.contains(&user.user.as_str()))
            .filter_map(|event| nats::subject_of(event, &tenant))
            .collect();
        subjects.extend(nats::streams().iter().map(|s| format!("$JS.API.STREAM.PURGE.{}", s.name)));
        subjects.push("$JS.API.STREAM.CREATE.FORGED".to_owned());
        for subject in subjects {
            client.publish(subject.clone(), "{}".into()).await?;
            client.flush().await?;
            violation(&mut events, &subject).await.with_context(|| format!("{} publishing", user.user))?;
        }
        for other in users.iter().filter(|o| o.user != user.user) {
            let subject = format!("{}.>", nats::inbox_prefix(&other.user));
            let _subscription = client.subscribe(subject.clone()).await?;
            client.flush().await?;
            violation(&mut events, &subject).await.with_context(|| format!("{} subscribing", user.user))?;
        }
        let _subscription = client.subscribe("of.>").await?;
        client.flush().await?;
        violation(&mut events, "of.>").await.with_context(|| format!("{} subscribing", user.user))?;
    }
    Ok(())
}

pub async fn nats_refuses_wrong_passwords(world: Arc<World>) -> anyhow::Result<()> {
    let address = world.site.cell_address(SHARED).context("no such cell")?;
    let url = format!("nats://{address}:4222");
    ensure!(async_nats::connect(&url).await.is_err(), "no password was asked for");
    let user = nats::permissions().first().context("no user")?.user.clone();
    let options = async_nats::ConnectOptions::with_user_and_password(user, "guess".to_owned());
    ensure!(options.connect(&url).await.is_err(), "a wrong password was accepted");
    Ok(())
}
