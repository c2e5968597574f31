mod postgres;

use contracts::{Generation, TenantId};
use futures::StreamExt;
use kit::Scope;
use query_engine::flight::{Statement, encode};
use query_engine::{Pin, SessionOptions, TableName};
use serde_json::json;
use time::OffsetDateTime;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::config::Settings;
use crate::domain::{Route, Run, State, Words};
use crate::limits::TenantLimits;
use crate::{ops, rows};

fn scope() -> Scope {
    Scope::of_service("edge", TenantId::new("acme").unwrap(), Generation(1))
}

fn pin(namespace: &str, table: &str) -> Pin {
    Pin { name: TableName::new(namespace, table), metadata_location: "m".into(), snapshot_id: Some(7) }
}

fn run(pins: Vec<Pin>, state: State) -> Run {
    let now = OffsetDateTime::now_utc();
    Run {
        id: Uuid::now_v7(),
        scope: scope(),
        statement_id: Uuid::now_v7(),
        words: Words::of("select * from t where name = 'Ada Lovelace' and n = 4711"),
        route: Route::of(&pins),
        pins,
        state,
        error: None,
        rows: 3,
        bytes: 0,
        started_at: now,
        finished_at: now,
    }
}

#[test]
fn a_statement_that_reads_no_table_stays_at_the_edge() {
    assert_eq!(Route::of(&[]), Route::Edge);
    assert_eq!(Route::of(&[pin("streams", "flights")]), Route::Pool);
}

#[test]
fn no_record_of_a_statement_holds_a_literal() {
    let run = run(vec![pin("streams", "flights")], State::Finished);
    let text = format!("{} {} {}", json!(run.audit()), json!(run.lineage()), run.words.redacted.as_deref().unwrap());
    assert!(!text.contains("Ada") && !text.contains("4711"), "{text}");
    // A text that does not parse may be all literal: nothing of it is kept.
    assert!(Words::of("select 'Ada Lovelace").redacted.is_none());
}

#[test]
fn the_same_statement_with_other_values_has_the_same_fingerprint() {
    let fingerprint = |sql| Words::of(sql).fingerprint;
    assert_eq!(fingerprint("select a from t where b = 1"), fingerprint("SELECT a FROM t\nWHERE b = 2"));
    assert_ne!(fingerprint("select a from t"), fingerprint("select b from t"));
}

#[test]
fn lineage_names_each_table_as_the_graph_does() {
    let run = run(vec![pin("streams", "flights#7"), pin("datasets", "airlines")], State::Finished);
    let event = run.lineage().unwrap();
    let names: Vec<_> = event.inputs.iter().map(|input| (input.namespace.as_str(), input.name.as_str())).collect();
    assert_eq!(names, [("iceberg://acme", "streams.flights"), ("iceberg://acme", "datasets.airlines")]);
    assert_eq!(run.tables(), ["datasets.airlines", "streams.flights"]);
    assert!(self::run(Vec::new(), State::Finished).lineage().is_none());
}

#[test]
fn the_audit_tells_refusals_from_failures() {
    let entry = |state| run(Vec::new(), state).audit();
    assert_eq!((entry(State::Finished).outcome.as_str(), entry(State::Finished).status), ("allowed", 200));
    assert_eq!(entry(State::Failed(Code::PermissionDenied)).outcome, "denied");
    assert_eq!(entry(State::Failed(Code::InvalidArgument)).status, 422);
    assert_eq!(entry(State::Abandoned).status, 499);
}

#[test]
fn a_tenants_limits_are_its_own() {
    let limits = TenantLimits::new(&Settings { tenant_statements: 1, ..Settings::default() });
    let (acme, globex) = (TenantId::new("acme").unwrap(), TenantId::new("globex").unwrap());
    let held = limits.statement(&acme).unwrap();
    assert!(limits.statement(&acme).is_err());
    assert!(limits.statement(&globex).is_ok());
    drop(held);
    assert!(limits.statement(&acme).is_ok());
}

#[test]
fn a_status_keeps_its_code_and_its_advice_over_http() {
    let mut status = Status::resource_exhausted("busy");
    status.metadata_mut().insert(contracts::headers::ERROR_CODE, "sql/pool-busy".parse().unwrap());
    status.metadata_mut().insert("retry-after", "2".parse().unwrap());
    let problem = ops::problem(&status);
    assert_eq!((problem.kind(), problem.code()), (kit::Kind::TooMany, "sql/pool-busy"));
}

#[tokio::test]
async fn rows_are_one_object_per_line_and_a_failure_breaks_the_stream() {
    let values = rows::parameters(&[json!(1), json!("x"), json!(null), json!(1.5), json!(true)]).unwrap();
    assert!(rows::parameters(&[json!([1])]).is_err());
    let good = futures::stream::iter([Ok(values.clone())]).boxed();
    let text: Vec<_> = rows::lines(encode(values.schema(), good)).collect().await;
    assert_eq!(text[0].as_ref().unwrap(), "{\"$1\":1,\"$2\":\"x\",\"$3\":null,\"$4\":1.5,\"$5\":true}\n");
    let bad = futures::stream::iter([Ok(values.clone()), Err(query_engine::Error::Cancelled)]).boxed();
    let text: Vec<_> = rows::lines(encode(values.schema(), bad)).collect().await;
    assert!(text.last().unwrap().is_err());
}

#[test]
fn a_bound_statement_reads_its_parameters_back() {
    let mut statement = Statement::new(&scope(), SessionOptions::default(), "select ?");
    let values = rows::parameters(&[json!(1)]).unwrap();
    statement.bind(std::slice::from_ref(&values), 1 << 20).unwrap();
    assert_eq!(statement.parameters().unwrap().unwrap(), values);
    assert!(statement.bind(&[values], 8).is_err());
}
