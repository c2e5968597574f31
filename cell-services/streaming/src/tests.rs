//! The service on real servers: its surface, its database, its topic.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use contracts::CellId;
use contracts::events::{LINEAGE_RUN_EVENT, STREAM_CHANGED};
use event_bus_data::{DataBus, contract};
use http::{Request, StatusCode, header};
use kit::Scope;
use kit::database::Database;
use kit::tasks::Tasks;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use tower::ServiceExt;

use crate::config::Settings;
use crate::ops::tail::Tails;
use crate::ops::{App, Counters};

const NDJSON: &str = "application/x-ndjson";

struct Bench {
    router: Router,
    database: Database,
}

async fn topics() {
    static ONCE: OnceCell<()> = OnceCell::const_new();
    ONCE.get_or_init(|| async {
        let kafka = testkit::kafka().await.unwrap();
        contract::apply(&kafka.admin_endpoint().unwrap()).await.unwrap();
    })
    .await;
}

async fn bench() -> Bench {
    topics().await;
    let database = testkit::database(&sqlx::migrate!()).await.unwrap();
    let bus = DataBus::connect(&testkit::kafka().await.unwrap().endpoint("streaming").unwrap(), "streaming").unwrap();
    let settings = Settings::default();
    let app = App {
        cell: CellId::new("test").unwrap(),
        database: database.clone(),
        bus,
        // Nobody awaits the failures of a test's tasks.
        tasks: Tasks::new().0,
        placements: kit::placements::Placements::new(CellId::new("test").unwrap()),
        tails: Tails::new(settings.tails_per_tenant, settings.tails),
        counters: Counters { accepted: Box::new(|_| ()), rejected: Box::new(|_| ()), acknowledged: Box::new(|_| ()) },
        tracer: trace::Tracer::off(),
        settings,
    };
    Bench { router: crate::api::router(Arc::new(app)), database }
}

impl Bench {
    async fn ask(
        &self,
        scope: &Scope,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> (StatusCode, String) {
        let mut request = Request::builder().method(method).uri(path).body(body.into()).unwrap();
        request.headers_mut().extend(scope.to_headers().unwrap());
        for (name, value) in headers {
            let name: http::HeaderName = name.parse().unwrap();
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        let answer = self.router.clone().oneshot(request).await.unwrap();
        let status = answer.status();
        let bytes = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }

    async fn json(&self, scope: &Scope, method: &str, path: &str, body: Value) -> (StatusCode, Value) {
        let headers = [(header::CONTENT_TYPE.as_str(), "application/json")];
        let (status, text) = self.ask(scope, method, path, &headers, body.to_string()).await;
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    async fn push(&self, scope: &Scope, path: &str, key: Option<&str>, rows: &str) -> (StatusCode, Value) {
        let mut headers = vec![(header::CONTENT_TYPE.as_str(), NDJSON)];
        headers.extend(key.map(|key| ("idempotency-key", key)));
        let (status, text) = self.ask(scope, "POST", path, &headers, rows.to_owned()).await;
        (status, serde_json::from_str(&text).unwrap())
    }

    async fn stream(&self, scope: &Scope, name: &str) -> Value {
        let fields = json!([{"name": "id", "type": "int64", "nullable": false}, {"name": "name", "type": "string"}]);
        let (status, stream) =
            self.json(scope, "POST", "/api/v1/streams", json!({"name": name, "schema": {"fields": fields}})).await;
        assert_eq!(status, StatusCode::CREATED, "{stream}");
        stream
    }

    /// Events of that name waiting in the outbox.
    async fn waiting(&self, event: &str) -> i64 {
        let mut tx = self.database.begin_system().await.unwrap();
        sqlx::query_scalar("select count(*) from outbox where event_name = $1")
            .bind(event)
            .fetch_one(&mut *tx)
            .await
            .unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_accepted_or_refused_one_by_one_and_seen_in_the_tail() {
    let (bench, acme) = (bench().await, testkit::scope("acme").unwrap());
    bench.stream(&acme, "flights").await;
    let rows = "{\"id\":1,\"name\":\"a\"}\n{\"id\":\"x\"}\n\n{\"id\":3}";
    let (status, answer) = bench.push(&acme, "/api/v1/streams/flights/records", None, rows).await;
    assert_eq!((status, &answer["accepted"], &answer["rejected"]), (StatusCode::OK, &json!(2), &json!(1)), "{answer}");
    assert_eq!(
        answer["errors"][0],
        json!({"row": 2, "field": "id", "code": "type", "message": "int64 expected, string found"})
    );
    let (_, tail) = bench.ask(&acme, "GET", "/api/v1/streams/flights/tail?from=earliest&limit=10", &[], "").await;
    assert_eq!(tail.matches("event: record").count(), 2, "{tail}");
    assert!(tail.contains(r#""value":{"id":1,"name":"a"}"#), "{tail}");
    let (_, stream) = bench.json(&acme, "GET", "/api/v1/streams/flights", Value::Null).await;
    assert_eq!(stream["acceptedRows"], json!(2));
    // One lineage event for the first batch, none for the next one a moment later.
    bench.push(&acme, "/api/v1/streams/flights/records", None, "{\"id\":4}").await;
    assert_eq!((bench.waiting(LINEAGE_RUN_EVENT).await, bench.waiting(STREAM_CHANGED).await), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenants_stream_is_not_there_at_all() {
    let (bench, acme, globex) = (bench().await, testkit::scope("acme").unwrap(), testkit::scope("globex").unwrap());
    let id = bench.stream(&acme, "secret").await["id"].as_str().unwrap().to_owned();
    bench.push(&acme, "/api/v1/streams/secret/records", None, "{\"id\":1}").await;
    for path in [
        format!("/api/v1/streams/{id}"),
        format!("/api/v1/streams/{id}/schemas"),
        format!("/api/v1/streams/{id}/tail?limit=1"),
    ] {
        assert_eq!(bench.ask(&globex, "GET", &path, &[], "").await.0, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(
        bench.push(&globex, &format!("/api/v1/streams/{id}/records"), None, "{\"id\":1}").await.0,
        StatusCode::NOT_FOUND
    );
    assert_eq!(bench.ask(&globex, "DELETE", &format!("/api/v1/streams/{id}"), &[], "").await.0, StatusCode::NOT_FOUND);
    let (_, list) = bench.json(&globex, "GET", "/api/v1/streams", Value::Null).await;
    assert_eq!(list["data"], json!([]));
    // The same name is free for them, and their tail shows their rows only.
    bench.stream(&globex, "secret").await;
    bench.push(&globex, "/api/v1/streams/secret/records", None, "{\"id\":2}").await;
    let (_, tail) = bench.ask(&globex, "GET", "/api/v1/streams/secret/tail?from=earliest&limit=10", &[], "").await;
    assert_eq!(tail.matches("event: record").count(), 1, "{tail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_with_a_key_is_taken_once() {
    let (bench, acme) = (bench().await, testkit::scope("acme").unwrap());
    bench.stream(&acme, "once").await;
    let path = "/api/v1/streams/once/records";
    let (_, first) = bench.push(&acme, path, Some("k1"), "{\"id\":1}\n{\"id\":2}").await;
    let (status, again) = bench.push(&acme, path, Some("k1"), "{\"id\":1}\n{\"id\":2}").await;
    assert_eq!((status, &again), (StatusCode::OK, &first));
    // Other rows, fewer rows, or the same rows to be read otherwise: not the batch that was taken.
    let abort = format!("{path}?onError=abort");
    for (path, rows) in [(path, "{\"id\":1}\n{\"id\":3}"), (path, "{\"id\":1}"), (&abort, "{\"id\":1}\n{\"id\":2}")] {
        let (status, refused) = bench.push(&acme, path, Some("k1"), rows).await;
        let reused = json!("streaming/idempotency-key-reused");
        assert_eq!((status, &refused["code"]), (StatusCode::UNPROCESSABLE_ENTITY, &reused), "{rows}");
    }
    let (_, stream) = bench.json(&acme, "GET", "/api/v1/streams/once", Value::Null).await;
    assert_eq!(stream["acceptedRows"], json!(2));
    // A batch that was not taken whole gives its key back.
    let (status, aborted) = bench.push(&acme, &abort, Some("k2"), "{\"id\":3}\n{}\n{\"id\":4}").await;
    assert_eq!(
        (status, &aborted["code"], &aborted["batch"]["accepted"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("streaming/aborted"), &json!(1))
    );
    let (status, _) = bench.push(&acme, path, Some("k2"), "{\"id\":4}").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(bench.push(&acme, path, Some("a b"), "{\"id\":4}").await.0, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_grows_and_a_name_is_free_again_after_its_stream() {
    let (bench, acme) = (bench().await, testkit::scope("acme").unwrap());
    let stream = bench.stream(&acme, "growing").await;
    let (status, _) = bench
        .json(
            &acme,
            "POST",
            "/api/v1/streams",
            json!({"name": "growing", "schema": {"fields": [{"name": "a", "type": "date"}]}}),
        )
        .await;
    assert_eq!(status, StatusCode::CONFLICT);
    let fields = |last: Value| json!({"fields": [{"name": "id", "type": "int64", "nullable": false}, {"name": "name", "type": "string"}, last]});
    let required = fields(json!({"name": "at", "type": "timestamptz", "nullable": false}));
    let (status, answer) = bench.json(&acme, "POST", "/api/v1/streams/growing/schema", required).await;
    assert_eq!((status, &answer["code"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("streaming/schema-incompatible")));
    let (status, grown) = bench
        .json(&acme, "POST", "/api/v1/streams/growing/schema", fields(json!({"name": "at", "type": "timestamptz"})))
        .await;
    assert_eq!((status, &grown["schemaVersion"]), (StatusCode::OK, &json!(2)));
    let (status, _) = bench.ask(&acme, "DELETE", "/api/v1/streams/growing", &[], "").await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    // Gone by name, still described by id: the sink may have rows of it before it.
    assert_eq!(bench.ask(&acme, "GET", "/api/v1/streams/growing", &[], "").await.0, StatusCode::NOT_FOUND);
    let path = format!("/api/v1/streams/{}/schemas", stream["id"].as_str().unwrap());
    let (_, schemas) = bench.json(&acme, "GET", &path, Value::Null).await;
    assert_eq!((&schemas["deleted"], schemas["schemas"].as_array().map(Vec::len)), (&json!(true), Some(2)));
    bench.stream(&acme, "growing").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scope_is_asked_for_and_a_foreign_form_is_refused() {
    let bench = bench().await;
    let (all, reader) = (testkit::scope("acme").unwrap(), testkit::scope_with("acme", "streams:read").unwrap());
    bench.stream(&all, "guarded").await;
    assert_eq!(
        bench.push(&reader, "/api/v1/streams/guarded/records", None, "{\"id\":1}").await.0,
        StatusCode::FORBIDDEN
    );
    assert_eq!(bench.ask(&reader, "DELETE", "/api/v1/streams/guarded", &[], "").await.0, StatusCode::FORBIDDEN);
    let headers = [(header::CONTENT_TYPE.as_str(), "application/json")];
    let (status, body) = bench.ask(&all, "POST", "/api/v1/streams/guarded/records", &headers, "{\"id\":1}").await;
    assert!(status == StatusCode::UNPROCESSABLE_ENTITY && body.contains("streaming/media-type"), "{body}");
}
