//! Against a real broker, with the principals and access rules of the contracts.

#![allow(clippy::unwrap_used, reason = "a test's own steps may panic")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use contracts::events::{AUDIT_ENTRY_RECORDED, AuditEntryRecorded, STREAMING_RECORD_ACCEPTED};
use contracts::kafka::dead_letter_topic;
use contracts::{Envelope, TenantId};
use event_bus_data::{BusError, DataBus, Delivery, NotStored, OpenLineage, RecordHeaders, TailStart, contract};
use kit::database::Tx;
use kit::outbox::{Outgoing, Publisher};
use kit::service::KafkaEndpoint;
use kit::tasks::Tasks;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::message::{Headers, Message};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use time::OffsetDateTime;
use uuid::Uuid;

/// Bounds a hang.
const WAIT: Duration = Duration::from_secs(120);

async fn endpoint(user: &str) -> KafkaEndpoint {
    testkit::kafka().await.unwrap().endpoint(user).unwrap()
}

async fn admin() -> KafkaEndpoint {
    testkit::kafka().await.unwrap().admin_endpoint().unwrap()
}

/// Once per process: two tests that make the same topic at the same time would disturb each other.
async fn reconciled() {
    static ONCE: tokio::sync::OnceCell<()> = tokio::sync::OnceCell::const_new();
    ONCE.get_or_init(|| async {
        contract::apply(&admin().await).await.unwrap();
    })
    .await;
}

fn headers(run: Uuid) -> RecordHeaders {
    RecordHeaders::new(&OpenLineage::now("cytoplane://test", "stream/x", run, "https://cytoplane.dev/test"))
}

#[tokio::test(flavor = "multi_thread")]
async fn applying_twice_changes_nothing_and_leaves_no_drift() {
    reconciled().await;
    assert_eq!(contract::apply(&admin().await).await.unwrap(), Vec::<String>::new());
    let drift = contract::drift(&admin().await).await.unwrap();
    assert!(drift.iter().all(|d| d.contains("somebody.made.this")), "{drift:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_itself_refuses_another_services_topic() {
    reconciled().await;
    let audit = DataBus::connect(&endpoint("audit").await, "audit").unwrap();
    let refused = audit.producer().send(STREAMING_RECORD_ACCEPTED, b"k", b"v", &headers(Uuid::nil())).await;
    assert!(matches!(refused, Err(BusError::Refused { .. })), "{refused:?}");
    let reading = audit.consumer(STREAMING_RECORD_ACCEPTED, "theft").unwrap();
    let since = Instant::now();
    let refused = loop {
        match reading.drain(10, Duration::from_secs(1), |_, _| panic!("a foreign record was read")).await {
            Err(error) => break error,
            Ok(_) => assert!(since.elapsed() < WAIT, "the broker never said no"),
        }
    };
    assert!(refused.is_refused(), "{refused:?}");
    // A broker answers who may not see a topic as if it had no partitions: never an empty view.
    let unseen = audit.tail(STREAMING_RECORD_ACCEPTED, TailStart::Latest).await.err().unwrap();
    assert!(unseen.is_refused(), "{unseen:?}");
    let unseen = audit.lag_meter(STREAMING_RECORD_ACCEPTED, "theft").unwrap().lag().await;
    assert!(matches!(unseen, Err(BusError::Refused { .. })), "{unseen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_acknowledged_with_its_offsets_and_read_back_once() {
    reconciled().await;
    let bus = DataBus::connect(&endpoint("streaming").await, "streaming").unwrap();
    let tail = bus.tail(STREAMING_RECORD_ACCEPTED, TailStart::Latest).await.unwrap();
    let run = Uuid::now_v7();
    let (headers, rows) = (headers(run), 100_000u32);
    let mut batch = bus.producer().batch(STREAMING_RECORD_ACCEPTED);
    for row in 0..rows {
        let key = format!("acme/{run}/{}", row % 12);
        let value = format!(
            r#"{{"year":2013,"month":1,"day":1,"dep_time":{row},"carrier":"UA","tailnum":"N14228","origin":"EWR","dest":"IAH"}}"#
        );
        batch.send(key.as_bytes(), value.as_bytes(), &headers).await.unwrap();
    }
    let acknowledged = batch.acknowledged().await.unwrap();
    assert_eq!(acknowledged.records, u64::from(rows));
    let span: i64 = acknowledged.offsets.values().map(|(first, last)| last - first + 1).sum();
    assert!(span >= i64::from(rows));
    let mut seen = 0;
    let since = Instant::now();
    while seen < rows && since.elapsed() < WAIT {
        tail.drain(10_000, Duration::from_secs(1), |record| {
            seen += u32::from(record.header("ol-run-id") == Some(run.to_string().as_str()));
        })
        .await
        .unwrap();
    }
    assert_eq!(seen, rows);
}

/// What a store step was handed.
type Seen = Arc<Mutex<Vec<Delivery<AuditEntryRecorded>>>>;

/// Refuses `unsound`, fails the first time it is called, and notes what it is handed.
async fn step(
    tx: &mut Tx,
    delivery: &Delivery<AuditEntryRecorded>,
    seen: Seen,
    unsound: Uuid,
) -> Result<(), NotStored> {
    let id = delivery.envelope.event_id;
    if id == unsound {
        return Err(NotStored::Unsound { code: "unsound", detail: "the test says so".to_owned() });
    }
    let first = {
        let mut seen = seen.lock().unwrap();
        seen.push(delivery.clone());
        seen.len() == 1
    };
    kit::inbox::first_time(tx, "test", id).await?;
    if first { Err(NotStored::Later("the database is away".into())) } else { Ok(()) }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_leave_by_the_outbox_and_poison_goes_to_the_dead_letters() {
    reconciled().await;
    let bus = DataBus::connect(&endpoint("streaming").await, "streaming").unwrap();
    let audit = DataBus::connect(&endpoint("audit").await, "audit").unwrap();
    let database = testkit::database(&sqlx::migrate::Migrator::DEFAULT).await.unwrap();
    let (poison_run, unsound, event) = (Uuid::now_v7(), outgoing(), outgoing());
    bus.publish(&[unsound.clone(), event.clone()]).await.unwrap();
    // A partition's last record may be poison: it counts as read all the same.
    bus.producer().send(AUDIT_ENTRY_RECORDED, b"acme/x", b"{not json", &headers(poison_run)).await.unwrap();

    let (purpose, seen, (tasks, _failures)) = (format!("test-{}", Uuid::now_v7()), Seen::default(), Tasks::new());
    let (told, refused) = (Arc::clone(&seen), unsound.event_id);
    let consumer = audit.events::<AuditEntryRecorded>(AUDIT_ENTRY_RECORDED, &purpose).unwrap();
    consumer
        .store(&tasks, "test", &database, move |tx, delivery| Box::pin(step(tx, delivery, Arc::clone(&told), refused)));
    let lag = audit.lag_meter(AUDIT_ENTRY_RECORDED, &purpose).unwrap();
    testkit::eventually("everything is read", || async {
        let lag = lag.lag().await?;
        anyhow::ensure!(lag == 0, "{lag} records are left");
        Ok(())
    })
    .await
    .unwrap();
    assert!(tasks.drain(WAIT).await);

    let stored: Vec<Uuid> = sqlx::query_scalar("select event_id from inbox").fetch_all(database.pool()).await.unwrap();
    assert!(stored.contains(&event.event_id) && !stored.contains(&unsound.event_id));
    {
        let seen = seen.lock().unwrap();
        let of = |id: Uuid| seen.iter().filter(move |delivery| delivery.envelope.event_id == id);
        assert_eq!(of(event.event_id).next().unwrap().lineage.job_name, AUDIT_ENTRY_RECORDED);
        assert!(of(seen[0].envelope.event_id).count() > 1, "a batch that failed is tried again");
    }
    for (run, code) in [(poison_run, "envelope"), (unsound.event_id, "unsound")] {
        assert_eq!(reason_of(&dead_letters().await, run).await.as_deref(), Some(code));
    }
    let mut missing = event.clone();
    missing.headers.remove("ol-producer");
    assert!(bus.publish(&[missing]).await.is_err());
}

/// A reader of the dead letters from their beginning.
async fn dead_letters() -> StreamConsumer {
    let admin = admin().await;
    let reader: StreamConsumer = ClientConfig::new()
        .set("bootstrap.servers", &admin.bootstrap)
        .set("security.protocol", "SASL_PLAINTEXT")
        .set("sasl.mechanisms", "SCRAM-SHA-512")
        .set("sasl.username", &admin.username)
        .set("sasl.password", admin.password.expose())
        .set("group.id", "admin.test")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&dead_letter_topic(AUDIT_ENTRY_RECORDED), 0, Offset::Beginning).unwrap();
    reader.assign(&list).unwrap();
    reader
}

/// Why the record of that run was given up, once its dead letter is there.
async fn reason_of(letters: &StreamConsumer, run: Uuid) -> Option<String> {
    while let Ok(message) = tokio::time::timeout(WAIT, letters.recv()).await {
        let message = message.unwrap();
        let headers = message.headers().unwrap();
        let text = |name: &str| {
            let value = headers.iter().find(|header| header.key == name)?.value?;
            Some(String::from_utf8_lossy(value).into_owned())
        };
        if text("ol-run-id") == Some(run.to_string()) {
            return text("dlq-code");
        }
    }
    None
}

fn outgoing() -> Outgoing {
    let tenant = TenantId::new("acme").unwrap();
    let event_id = Uuid::now_v7();
    let envelope = Envelope {
        event_id,
        event_type: AUDIT_ENTRY_RECORDED.to_owned(),
        tenant: tenant.clone(),
        occurred_at: OffsetDateTime::now_utc(),
        correlation_id: "r".to_owned(),
        causation_id: None,
        traceparent: None,
        payload: AuditEntryRecorded {
            request_id: "r".to_owned(),
            actor: "user:u".to_owned(),
            action: "http.request".to_owned(),
            resource: "/x".to_owned(),
            outcome: "allowed".to_owned(),
            status: 200,
            detail: None,
        },
    };
    let headers: BTreeMap<String, String> = RecordHeaders::new(&OpenLineage::now(
        "of://audit",
        AUDIT_ENTRY_RECORDED,
        event_id,
        "https://cytoplane.dev/audit",
    ))
    .to_map();
    Outgoing {
        event: AUDIT_ENTRY_RECORDED.to_owned(),
        tenant,
        key: "acme/r".to_owned(),
        event_id,
        envelope: serde_json::to_string(&envelope).unwrap(),
        headers,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_has_an_id_that_stays() {
    reconciled().await;
    let bus = DataBus::connect(&endpoint("ingestion-replication").await, "ingestion-replication").unwrap();
    let id = bus.topic_identity(STREAMING_RECORD_ACCEPTED).unwrap().ask().await.unwrap();
    assert!(id.len() >= 20, "{id}");
    assert_eq!(bus.topic_identity(STREAMING_RECORD_ACCEPTED).unwrap().ask().await.unwrap(), id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_made_by_hand_is_drift_and_is_left_alone() {
    use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
    use rdkafka::client::DefaultClientContext;
    reconciled().await;
    let admin = admin().await;
    let client: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", &admin.bootstrap)
        .set("security.protocol", "SASL_PLAINTEXT")
        .set("sasl.mechanisms", "SCRAM-SHA-512")
        .set("sasl.username", &admin.username)
        .set("sasl.password", admin.password.expose())
        .create()
        .unwrap();
    let made = NewTopic::new("somebody.made.this", 1, TopicReplication::Fixed(1));
    client.create_topics([&made], &AdminOptions::new()).await.unwrap();
    let since = Instant::now();
    let drift = loop {
        let drift = contract::drift(&admin).await.unwrap();
        if !drift.is_empty() {
            break drift;
        }
        assert!(since.elapsed() < WAIT, "the topic never showed");
    };
    assert_eq!(drift, ["topic somebody.made.this is not declared"]);
    // Never deleted by us: it may hold somebody's rows.
    assert_eq!(contract::apply(&admin).await.unwrap(), Vec::<String>::new());
    client.delete_topics(&["somebody.made.this"], &AdminOptions::new()).await.unwrap();
}
