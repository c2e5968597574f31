//! Real servers from real parts, alone and as a site's infrastructure.

use std::collections::BTreeSet;
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::context::GetStreamErrorKind;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::producer::{FutureProducer, FutureRecord};
use stack::addresses::Addresses;
use stack::driver::Driver;
use stack::kafka::ADMIN;
use stack::nats::Nats;
use stack::postgres::Database;
use stack::report::Reporter;
use stack::site::{Settings, Site, Until};
use stack::{alone, parts::Parts};

/// Bounds a hang.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_has_a_database_and_a_role_per_service_with_vectors() {
    let dir = tempfile::tempdir().unwrap();
    let databases = vec![Database::of_service("dataset"), Database::of_service("sql-bi-gateway")];
    let postgres = alone::postgres(dir.path(), databases, &Reporter::plain()).await.unwrap();
    postgres.driver.check().await.unwrap();
    assert_eq!(postgres.driver.drift().await.unwrap(), []);
    let mut admin = postgres.driver.connect_as_admin("dataset").await.unwrap();
    sqlx::query("create extension vector").execute(&mut admin).await.unwrap();
    let may_enter: bool = sqlx::query_scalar("select has_database_privilege('dataset', 'sql_bi_gateway', 'connect')")
        .fetch_one(&mut admin)
        .await
        .unwrap();
    assert!(!may_enter, "a service's role enters another's database");
    sqlx::query("create database stranger").execute(&mut admin).await.unwrap();
    let drift = postgres.driver.drift().await.unwrap();
    assert_eq!(drift.iter().map(ToString::to_string).collect::<Vec<_>>(), ["- alone.postgres: database stranger"]);
    postgres.supervisor.stop_all().await;
    postgres.driver.destroy().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn data_of_a_killed_postgres_survive() {
    let dir = tempfile::tempdir().unwrap();
    let postgres = alone::postgres(dir.path(), vec![Database::of_service("audit")], &Reporter::plain()).await.unwrap();
    let mut admin = postgres.driver.connect_as_admin("audit").await.unwrap();
    sqlx::query("create table kept (n int)").execute(&mut admin).await.unwrap();
    sqlx::query("insert into kept values (1)").execute(&mut admin).await.unwrap();
    assert!(postgres.supervisor.kill("alone.postgres").await);
    // After a crash the pid in the lock file may have been given to a stranger: here, to process 1.
    let lock = dir.path().join("postgres/data/postmaster.pid");
    let text = std::fs::read_to_string(&lock).unwrap();
    let (_, rest) = text.split_once('\n').unwrap();
    std::fs::write(&lock, format!("1\n{rest}")).unwrap();
    postgres.driver.apply(&postgres.supervisor).await.unwrap();
    let mut admin = postgres.driver.connect_as_admin("audit").await.unwrap();
    let kept: i64 = sqlx::query_scalar("select count(*) from kept").fetch_one(&mut admin).await.unwrap();
    assert_eq!(kept, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nats_lets_a_user_do_only_what_the_contracts_say() {
    let dir = tempfile::tempdir().unwrap();
    let nats = alone::nats(dir.path(), Nats::users_of_a_cell(), &Reporter::plain()).await.unwrap();
    assert_eq!(nats.driver.drift().await.unwrap(), []);
    let connect = async |user: &str| {
        let password = nats.secrets.get_or_make(&format!("{user}.nats")).unwrap();
        async_nats::ConnectOptions::with_user_and_password(user.to_owned(), password.expose().to_owned())
            .custom_inbox_prefix(contracts::nats::inbox_prefix(user))
            .connect(nats.driver.url())
            .await
            .unwrap()
    };
    let admin = jetstream::new(connect("contracts").await);
    let declared = &contracts::nats::streams()[0];
    let config = jetstream::stream::Config {
        name: declared.name.clone(),
        subjects: declared.subjects.clone(),
        ..Default::default()
    };
    admin.create_stream(config.clone()).await.unwrap();
    // A service may not make streams.
    let mut service = jetstream::new(connect("streaming").await);
    service.set_timeout(Duration::from_secs(1));
    assert!(service.create_stream(jetstream::stream::Config { name: "OWN".into(), ..config }).await.is_err());
    let missing = admin.get_stream("OWN").await.unwrap_err();
    let GetStreamErrorKind::JetStream(reason) = missing.kind() else { panic!("{missing:?}") };
    assert_eq!(reason.error_code(), jetstream::ErrorCode::STREAM_NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_lets_in_only_its_principals_and_makes_no_topic_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let principals = BTreeSet::from(["streaming".to_owned()]);
    let kafka = alone::kafka(dir.path(), principals, &Reporter::plain()).await.unwrap();
    assert_eq!(kafka.driver.drift().await.unwrap(), []);
    let own = kafka.driver.client("streaming").unwrap();
    let producer: FutureProducer = own.clone().set("message.timeout.ms", "4000").create().unwrap();
    let record = FutureRecord::<str, str>::to("never.declared.v1").key("k").payload("v");
    assert!(producer.send(record, PATIENCE).await.is_err());
    let all = topics(kafka.driver.client(ADMIN).unwrap(), PATIENCE).await.unwrap();
    assert!(!all.contains(&"never.declared.v1".to_owned()), "{all:?}");
    // The same question, signed in and not.
    topics(own.clone(), PATIENCE).await.unwrap();
    let mut guessed = own;
    guessed.set("sasl.password", "wrong");
    assert!(topics(guessed, Duration::from_secs(4)).await.is_err());
}

async fn topics(settings: ClientConfig, patience: Duration) -> KafkaResult<Vec<String>> {
    let ask = move || {
        let all = settings.create::<BaseConsumer>()?.fetch_metadata(None, patience)?;
        Ok(all.topics().iter().map(|topic| topic.name().to_owned()).collect())
    };
    tokio::task::spawn_blocking(ask).await.map_err(|_| KafkaError::Canceled)?
}

/// One start from nothing, one with data; the whole infrastructure of two cells.
#[tokio::test(flavor = "multi_thread")]
async fn the_infrastructure_of_a_site_starts_twice() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = Settings::new(&dir.path().join("state"));
    let spare = Addresses::spare().unwrap();
    settings.addresses = spare.addresses();
    let reporter = Reporter::plain();
    for _ in 0..2 {
        let site = Site::start(settings.clone(), Until::Infrastructure, &reporter).await.unwrap();
        for driver in site.drivers() {
            driver.check().await.unwrap();
        }
        assert_eq!(site.drift().await.unwrap(), []);
        assert!(Site::start(settings.clone(), Until::Infrastructure, &reporter).await.is_err(), "one site per state");
        site.stop().await;
        assert!(site.supervisor().processes().is_empty());
    }
}

#[tokio::test]
async fn fetching_again_does_nothing() {
    use std::os::unix::fs::MetadataExt;
    let parts = Parts::in_cache().unwrap();
    let tree = async || {
        let tree = parts.ensure("postgres", &Reporter::plain()).await.unwrap();
        // A tree that is fetched is another folder, put in the place of the first.
        (tree.root().to_owned(), std::fs::metadata(tree.root()).unwrap().ino())
    };
    assert_eq!(tree().await, tree().await);
}
