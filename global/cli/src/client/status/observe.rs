//! Asks every part of the site: operators' ports directly, the rest as a client.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use contracts::events::Bus;
use contracts::services::{ADMIN_PORT, SERVICES};
use serde_json::Value;
use stack::site::{CellDescription, Description};

use super::exposition::Exposition;
use super::report::{CellReport, GlobalReport, MoveReport, Report, RouterReport};
use super::tenants;
use crate::client::api::Api;
use crate::client::credential::Credential;
use crate::client::global::{Cell, Drain, Global, Move, Tenant};
use crate::place::Place;

/// A part that takes longer is said not to answer.
const PATIENCE: Duration = Duration::from_secs(3);

pub async fn site(place: &Place, api: &Api, description: &Description) -> anyhow::Result<Report> {
    let operators = reqwest::Client::builder().timeout(PATIENCE).no_proxy().build()?;
    let router = router(&operators, &description.router.admin).await;
    let (listed, refused) = match listed(place, api).await {
        Ok(listed) => (listed, None),
        Err(error) => (Listed::default(), Some(format!("{error:#}"))),
    };
    let global = GlobalReport { refused, ..global(&operators, &description.global.url).await };
    let mut reports = Vec::new();
    for known in &description.cells {
        let told = listed.cells.iter().find(|cell| cell.id == known.plan.name);
        let drain_problem = listed.drains.iter().find(|drain| drain.cell == known.plan.name);
        let drain_problem = drain_problem.and_then(|drain| drain.problem.clone());
        reports.push(CellReport { drain_problem, ..cell(&operators, known, told).await });
    }
    let mut homes = Vec::new();
    for tenant in listed.tenants {
        homes.push(tenants::report(place, api, tenant).await);
    }
    Ok(Report::new(router, global, reports, homes, listed.moves.into_iter().map(one_move).collect()))
}

/// What the global plane tells.
#[derive(Default)]
struct Listed {
    cells: Vec<Cell>,
    tenants: Vec<Tenant>,
    moves: Vec<Move>,
    /// Under way.
    drains: Vec<Drain>,
}

async fn listed(place: &Place, api: &Api) -> anyhow::Result<Listed> {
    let global = Global::new(api, Credential::find_global(place, api)?);
    let (cells, mut drains) = (global.cells().await?, Vec::new());
    // Only the platform's administrators are told of drains and moves.
    for cell in cells.iter().filter(|cell| cell.state == "draining") {
        let known = global.drains(&cell.id).await.unwrap_or_default();
        drains.extend(known.into_iter().find(|drain| drain.state == "under_way"));
    }
    Ok(Listed { cells, tenants: global.tenants().await?, moves: global.moves().await.unwrap_or_default(), drains })
}

fn one_move(one: Move) -> MoveReport {
    MoveReport { tenant: one.tenant, from: one.from, to: one.to, step: one.step, problem: one.problem }
}

async fn text(operators: &reqwest::Client, url: String) -> Option<String> {
    operators.get(url).send().await.ok()?.text().await.ok()
}

fn count(number: Option<f64>) -> u64 {
    number.map_or(0, |number| number.max(0.0) as u64)
}

async fn router(operators: &reqwest::Client, admin: &str) -> RouterReport {
    let Some(overview) = text(operators, format!("{admin}/routes")).await else { return RouterReport::default() };
    let overview: Value = serde_json::from_str(&overview).unwrap_or_default();
    let mut metrics = Exposition::default();
    metrics.read(&text(operators, format!("{admin}/metrics")).await.unwrap_or_default());
    let failed = |labels: &BTreeMap<String, String>| labels.get("class").is_some_and(|c| c == "5xx");
    RouterReport {
        answers: true,
        unready: overview["unready"].as_str().map(str::to_owned),
        table_version: overview["version"].as_u64(),
        feed_heard_seconds_ago: overview["feedHeardSecondsAgo"].as_f64(),
        requests: count(metrics.sum("router_requests_total", |_| true)),
        server_errors: count(metrics.sum("router_requests_total", failed)),
        added_p99_ms: metrics.quantile("router_added_duration_seconds", 0.99).map(|seconds| seconds * 1000.0),
    }
}

/// Its operators' port is on the address of its own port.
async fn global(operators: &reqwest::Client, url: &str) -> GlobalReport {
    let bare = url.trim_start_matches("https://");
    let Ok(address) = bare.parse::<SocketAddr>() else { return GlobalReport::default() };
    let url = format!("http://{}:{ADMIN_PORT}/readyz", address.ip());
    match operators.get(url).send().await {
        Ok(answer) => GlobalReport { answers: true, ready: answer.status().is_success(), refused: None },
        Err(_) => GlobalReport::default(),
    }
}

async fn cell(operators: &reqwest::Client, known: &CellDescription, told: Option<&Cell>) -> CellReport {
    let metrics = metrics_of(operators, known.address).await;
    let serving = metrics.labels("cytoplane_service_info", "service");
    let missing = SERVICES.iter().map(|s| s.name).filter(|name| !serving.iter().any(|s| s == name));
    let failed = |labels: &BTreeMap<String, String>| {
        labels.get("http_response_status_code").is_some_and(|status| status.starts_with('5'))
    };
    let control_event = |q| metrics.quantile_of("cytoplane_event_delivery_duration_seconds", q, on_control_bus);
    let contracts = told.and_then(|cell| cell.contracts.as_ref());
    CellReport {
        name: known.plan.name.clone(),
        kind: told.map(|cell| cell.kind.clone()),
        state: told.map(|cell| cell.state.clone()),
        tenants: told.map(|cell| cell.tenants),
        services_serving: serving.len(),
        services_missing: missing.map(str::to_owned).collect(),
        contracts: contracts.map(|contracts| contracts.version),
        drift: contracts.map(|contracts| contracts.drift.clone()).unwrap_or_default(),
        lag_records: metrics.sum("cytoplane_sink_lag_records", |_| true).map(|lag| lag.max(0.0) as u64),
        freshness_p99_seconds: metrics.quantile("cytoplane_sink_freshness_seconds", 0.99),
        statement_p99_seconds: metrics.quantile("cytoplane_sql_pool_statement_duration_seconds", 0.99),
        control_event_p50_seconds: control_event(0.50),
        control_event_p99_seconds: control_event(0.99),
        rows_committed: count(metrics.sum("cytoplane_sink_rows_committed_total", |_| true)),
        dead_letters: count(metrics.sum("cytoplane_sink_dead_letters_total", |_| true)),
        server_errors: count(metrics.sum("cytoplane_http_server_request_duration_seconds_count", failed)),
        outbox_stalled_seconds: metrics.greatest("cytoplane_outbox_stalled_seconds"),
        drain_problem: None,
    }
}

fn on_control_bus(labels: &BTreeMap<String, String>) -> bool {
    let event = labels.get("event").and_then(|event| contracts::events::find(event));
    event.is_some_and(|event| matches!(event.bus, Bus::Control { .. }))
}

/// Of every process of the cell: its services share one, or each has its own, on the ports after the first.
async fn metrics_of(operators: &reqwest::Client, address: IpAddr) -> Exposition {
    let mut metrics = Exposition::default();
    let ports = (ADMIN_PORT..).take(SERVICES.len());
    let asked = ports.map(|port| text(operators, format!("http://{}/metrics", SocketAddr::new(address, port))));
    for answer in futures::future::join_all(asked).await.into_iter().flatten() {
        metrics.read(&answer);
    }
    metrics
}
