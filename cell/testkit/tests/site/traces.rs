//! One request, found again everywhere: in its trace, in the logs, in the audit.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context, ensure};
use contracts::TraceParent;
use reqwest::Method;
use testkit::{Answer, Seen, Tenant, eventually};

use crate::rows;
use crate::world::{SHARED, World};

const CONSUMER: i32 = 5;

fn begin(sampled: bool) -> TraceParent {
    TraceParent::begin((rand::random(), rand::random()), sampled)
}

/// Pushes `rows` rows as a part of `trace`; answers the request's id.
async fn push(tenant: &Tenant, stream: &str, rows: u64, trace: TraceParent) -> anyhow::Result<String> {
    let request = tenant
        .request(Method::POST, &format!("/api/v1/streams/{stream}/records"))
        .header("content-type", "application/x-ndjson")
        .header("traceparent", trace.to_string())
        .body(rows::ndjson(0, rows));
    let answer = Answer::of(request).await?;
    ensure!(answer.good()?["accepted"] == rows, "{}", answer.excerpt());
    let id = answer.headers.get("x-request-id").context("an answer without a request id")?;
    Ok(id.to_str()?.to_owned())
}

/// The first span of `service` whose name contains `name`, below `parent` if one is given.
fn find<'a>(spans: &'a [Seen], service: &str, name: &str, parent: Option<&Seen>) -> anyhow::Result<&'a Seen> {
    let fits = |span: &&Seen| {
        span.service == service && span.name.contains(name) && parent.is_none_or(|parent| span.parent == parent.span)
    };
    let names = || spans.iter().map(|s| format!("{} {}", s.service, s.name)).collect::<Vec<_>>().join("; ");
    spans.iter().find(fits).with_context(|| format!("no span {name:?} of {service} at its place among {}", names()))
}

/// From the client to the bus, into the table, and on to those who hear of the commit.
fn way_of_a_row(spans: &[Seen], client: TraceParent) -> anyhow::Result<()> {
    let router = find(spans, "router", "POST", None)?;
    ensure!(router.parent == format!("{:016x}", client.span), "the router's parent is {}", router.parent);
    let gateway = find(spans, "gateway", "POST", Some(router))?;
    let streaming = find(spans, "streaming", "POST /api/v1/streams/{stream}/records", Some(gateway))?;
    let send = find(spans, "streaming", "send streaming.record.accepted.v1", Some(streaming))?;
    let sink = find(spans, "ingestion-replication", "process streaming.record.accepted.v1", Some(send))?;
    ensure!(sink.kind == CONSUMER, "{sink:?}");
    find(spans, "iceberg-catalog", "POST /iceberg/v1/{prefix}/namespaces/{namespace}/tables/{table}", Some(sink))?;
    find(spans, "streaming", "process ingestion.sink.committed.v1", Some(sink))?;
    find(spans, "lineage", "process lineage.run.event.v1", Some(sink))?;
    Ok(())
}

/// The edge binds the statement to the catalog's present state, and the pool reads that very state.
fn way_of_a_statement(spans: &[Seen]) -> anyhow::Result<()> {
    let asked = find(spans, "router", "FlightService/GetFlightInfo", None)?;
    let bound = find(spans, "sql-bi-gateway", "FlightService/GetFlightInfo", Some(asked))?;
    find(spans, "iceberg-catalog", "GET", Some(bound))?;
    let fetched = find(spans, "router", "FlightService/DoGet", None)?;
    let edge = find(spans, "sql-bi-gateway", "FlightService/DoGet", Some(fetched))?;
    find(spans, "sql-warehousing", "FlightService/DoGet", Some(edge))?;
    Ok(())
}

pub async fn one_trace_leads_from_the_push_to_the_statement(world: Arc<World>) -> anyhow::Result<()> {
    let tenant = world.tenant("traced").await?;
    let stream = rows::stream(&tenant, "traced").await?;
    let client = begin(true);
    let request = push(&tenant, &stream, 50, client).await?;
    rows::committed(&tenant, &stream, 50).await?;
    let sql = tenant.sql().await?.with_header("traceparent", &client.to_string())?;
    sql.execute("select count(*) from streams.traced where id > 3").await?.collect().await?;
    eventually("the whole trace is there", || async {
        let spans = world.collector.trace(&client.trace_id());
        way_of_a_row(&spans, client)?;
        way_of_a_statement(&spans)
    })
    .await?;
    let spans = world.collector.trace(&client.trace_id());
    let known: BTreeSet<&str> = spans.iter().map(|span| span.span.as_str()).collect();
    let root = format!("{:016x}", client.span);
    for span in &spans {
        ensure!(span.parent == root || known.contains(span.parent.as_str()), "a span hangs in the air: {span:?}");
        let tenants = span.attributes.get("cyto.tenant");
        ensure!(tenants.is_none_or(|named| *named == tenant.id), "another tenant's span: {span:?}");
    }
    let found = spans.iter().filter(|span| span.attributes.get("cyto.request_id") == Some(&request)).count();
    ensure!(found >= 3, "the push's id is in {found} spans");
    Ok(())
}

pub async fn a_trace_that_nobody_wants_is_not_recorded(world: Arc<World>) -> anyhow::Result<()> {
    let stream = rows::stream(&world.acme, &format!("untraced_{}", rand::random::<u32>())).await?;
    let (unwanted, wanted) = (begin(false), begin(true));
    push(&world.acme, &stream, 5, unwanted).await?;
    push(&world.acme, &stream, 5, wanted).await?;
    eventually("the other trace is there", || async {
        find(&world.collector.trace(&wanted.trace_id()), "router", "POST", None).map(drop)
    })
    .await?;
    ensure!(world.collector.trace(&unwanted.trace_id()).is_empty(), "spans of a trace that was not sampled");
    rows::remove(&world.acme, &format!("/api/v1/streams/{stream}")).await
}

/// Lines of one process's log that hold `id`.
fn lines(world: &World, process: &str, id: &str) -> anyhow::Result<Vec<serde_json::Value>> {
    let path = world.site.state().join("log").join(format!("{process}.log"));
    let text = String::from_utf8_lossy(&std::fs::read(&path).with_context(|| path.display().to_string())?).into_owned();
    Ok(text.lines().filter(|line| line.contains(id)).filter_map(|line| serde_json::from_str(line).ok()).collect())
}

pub async fn a_request_id_joins_trace_logs_and_audit(world: Arc<World>) -> anyhow::Result<()> {
    let stream = rows::stream(&world.acme, &format!("joined_{}", rand::random::<u32>())).await?;
    let trace = begin(true);
    let id = push(&world.acme, &stream, 5, trace).await?;
    eventually("the audit has the request", || async {
        let log = world.acme.get("/api/v1/audit/entries?pageSize=200").await?;
        let entries = log["data"].as_array().cloned().unwrap_or_default();
        let entry = entries.iter().find(|entry| entry["requestId"] == id.as_str());
        let entry = entry.with_context(|| format!("{id} is not among {} entries", entries.len()))?;
        ensure!(entry["status"] == 200, "{entry}");
        Ok(())
    })
    .await?;
    eventually("router and gateway have logged the request", || async {
        let router = lines(&world, "router.router", &id)?;
        ensure!(router.iter().any(|line| line["trace_id"] == trace.trace_id().as_str()), "{router:?}");
        let mut cell = Vec::new();
        for process in world.site.processes(&format!("{SHARED}."))? {
            cell.extend(lines(&world, &process, &id).unwrap_or_default());
        }
        for service in ["gateway", "streaming"] {
            let is_it = |line: &&serde_json::Value| line["service"] == service && line["target"] == "access";
            let line = cell.iter().find(is_it).with_context(|| format!("{service} has not logged {id}"))?;
            ensure!(line["trace_id"] == trace.trace_id().as_str() && line["tenant"] == "acme-test", "{line}");
        }
        Ok(())
    })
    .await?;
    rows::remove(&world.acme, &format!("/api/v1/streams/{stream}")).await
}
