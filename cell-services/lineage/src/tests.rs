mod postgres;

use contracts::events::{DatasetTransactionCommitted, LineageDataset, LineageRunEvent};
use contracts::{Envelope, TenantId};
use serde_json::{Map, json};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::{Dataset, Direction, EventError, MOST_NODES, NodeName, Run, RunEvent, RunState, Walk};
use crate::events::{commit_event, run_event};

fn at(second: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_700_000_000 + second).unwrap()
}

fn event() -> RunEvent {
    let dataset = |name: &str| Dataset { node: NodeName::dataset("iceberg://acme", name), facets: Map::new() };
    RunEvent {
        event_id: Uuid::now_v7(),
        at: at(0),
        state: RunState::Complete,
        run_id: Uuid::now_v7(),
        job: NodeName::job("of://dataset", "upload.flights"),
        producer: "https://cytoplane.dev/dataset".into(),
        inputs: vec![dataset("datasets.raw")],
        outputs: vec![dataset("datasets.flights"), dataset("datasets.flights")],
    }
}

#[test]
fn a_run_ends_once_and_events_may_come_in_any_order() {
    let complete = Run::after(None, RunState::Complete, at(5));
    let late_start = Run::after(Some(complete), RunState::Start, at(1));
    assert_eq!(
        (late_start.state, late_start.started_at, late_start.ended_at),
        (RunState::Complete, Some(at(1)), Some(at(5)))
    );
    let failed_after = Run::after(Some(late_start), RunState::Fail, at(6));
    assert_eq!((failed_after.state, failed_after.ended_at), (RunState::Complete, Some(at(5))));
    let running = Run::after(Some(Run::after(None, RunState::Start, at(1))), RunState::Running, at(2));
    assert_eq!((running.state, running.ended_at), (RunState::Running, None));
}

#[test]
fn data_flows_from_inputs_through_the_job_to_outputs() {
    let edges = event().edges();
    let job = "job:of://dataset:upload.flights".to_owned();
    assert_eq!(
        edges,
        [
            ("dataset:iceberg://acme:datasets.raw".to_owned(), job.clone()),
            (job, "dataset:iceberg://acme:datasets.flights".to_owned()),
        ]
    );
}

#[test]
fn hostile_names_and_oversized_events_are_refused() {
    assert_eq!(event().check(), Ok(()));
    for name in ["", "a\nb", &"x".repeat(2_000)] {
        let mut bad = event();
        bad.job.name = name.to_owned();
        assert_eq!(bad.check(), Err(EventError::Name("job.name")));
        let mut bad = event();
        bad.inputs[0].node.namespace = name.to_owned();
        assert!(bad.check().is_err());
    }
    let mut many = event();
    many.inputs = vec![many.inputs[0].clone(); 1_001];
    assert_eq!(many.check(), Err(EventError::Datasets));
    let mut fat = event();
    fat.outputs[0].facets.insert("x".into(), json!("y".repeat(300 << 10)));
    assert_eq!(fat.check(), Err(EventError::Facets));
}

#[test]
fn the_event_reads_as_open_lineage() {
    let event = event();
    let text = event.open_lineage("2026-01-01T00:00:00Z");
    assert_eq!(text["eventType"], "COMPLETE");
    assert_eq!(text["run"]["runId"], event.run_id.to_string());
    assert_eq!(text["job"]["name"], "upload.flights");
    assert_eq!(text["inputs"][0]["namespace"], "iceberg://acme");
    assert!(text["schemaURL"].as_str().unwrap().contains("/2-0-2/"));
}

fn edge(from: &str, to: &str) -> (String, String) {
    (from.to_owned(), to.to_owned())
}

#[test]
fn a_walk_visits_a_node_once_even_in_a_cycle() {
    let mut walk = Walk::from("a");
    assert_eq!(walk.step(Direction::Downstream, vec![edge("a", "b"), edge("a", "c")]), ["b", "c"]);
    assert_eq!(walk.step(Direction::Downstream, vec![edge("b", "a"), edge("c", "b")]), Vec::<String>::new());
    assert_eq!(walk.edges.len(), 4);
    let by_node = walk.by_node();
    assert_eq!((by_node["a"].0.len(), by_node["a"].1.len()), (1, 2));
}

#[test]
fn a_walk_that_is_cut_says_so() {
    let mut walk = Walk::from("start");
    let edges = (0..MOST_NODES).map(|n| edge("start", &n.to_string())).collect();
    walk.step(Direction::Downstream, edges);
    assert!(walk.truncated);
    assert_eq!(walk.nodes.len(), MOST_NODES);
    assert_eq!(walk.edges.len(), MOST_NODES - 1);
}

fn envelope<P>(payload: P) -> Envelope<P> {
    Envelope {
        event_id: Uuid::now_v7(),
        event_type: "t".into(),
        tenant: TenantId::new("acme").unwrap(),
        occurred_at: at(0),
        correlation_id: "c".into(),
        causation_id: None,
        traceparent: None,
        payload,
    }
}

#[test]
fn an_event_of_an_unknown_type_is_not_guessed_at() {
    let payload = LineageRunEvent {
        event_type: "DONE".into(),
        run_id: Uuid::now_v7(),
        job_namespace: "n".into(),
        job_name: "j".into(),
        inputs: vec![],
        outputs: vec![LineageDataset { namespace: "n".into(), name: "d".into(), facets: Some(json!([1])) }],
        producer: "p".into(),
    };
    assert_eq!(run_event(&envelope(payload.clone())), Err(EventError::Type));
    let complete = LineageRunEvent { event_type: "COMPLETE".into(), ..payload };
    assert_eq!(run_event(&envelope(complete)), Err(EventError::Facets));
}

#[test]
fn a_commit_is_told_of_under_the_name_that_sql_uses() {
    let payload = DatasetTransactionCommitted {
        dataset: Uuid::now_v7(),
        name: "flights".into(),
        transaction: Uuid::now_v7(),
        kind: "SNAPSHOT".into(),
        version: 3,
        rows: 10,
        bytes: 100,
        table: "datasets.flights".into(),
        snapshot_id: 7,
    };
    let event = commit_event(&envelope(payload)).unwrap();
    assert_eq!(event.outputs[0].node.id(), "dataset:iceberg://acme:datasets.flights");
    assert_eq!(event.check(), Ok(()));
}
