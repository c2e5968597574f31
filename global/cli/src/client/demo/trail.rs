//! What the platform remembers of the demo: lineage and audit.

use std::time::{Duration, Instant};

use anyhow::bail;
use serde_json::Value;

use super::super::table::grouped;
use super::super::tenant_api::TenantApi;

/// Both are told by events; a healthy cell has them within a second or two.
const ARRIVAL: Duration = Duration::from_secs(60);

/// Prints the edges into the table and the newest entries of the audit log.
pub async fn print(api: &TenantApi, tenant: &str, table: &str, request: &str) -> anyhow::Result<()> {
    let edges = wait(&format!("lineage of {table}"), || edges_into(api, table)).await?;
    for edge in &edges {
        println!("{tenant:8} lineage: {edge}");
    }
    let entry = wait(&format!("an audit entry of {request}"), || audited(api, request)).await?;
    println!("{tenant:8} audit:   {entry}");
    let verified: Value = api.get("verify the audit log", "/api/v1/audit/verify").await?;
    if verified["intact"] != true {
        bail!("{tenant}: the audit log is broken at entry {}", verified["brokenAt"]);
    }
    println!("{tenant:8} audit:   {} entries, the chain is intact", grouped(verified["entries"].as_u64().unwrap_or(0)));
    Ok(())
}

/// Asks again until there is an answer.
async fn wait<T, F>(what: &str, ask: impl Fn() -> F) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<Option<T>>>,
{
    let deadline = Instant::now() + ARRIVAL;
    loop {
        if let Some(answer) = ask().await? {
            return Ok(answer);
        }
        if Instant::now() >= deadline {
            bail!("{what} did not arrive within {} s", ARRIVAL.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn edges_into(api: &TenantApi, table: &str) -> anyhow::Result<Option<Vec<String>>> {
    let graph: Value =
        match api.get("read the lineage", &format!("/api/v1/lineage/graph?dataset={table}&depth=5")).await {
            Ok(graph) => graph,
            Err(error) if error.status() == Some(reqwest::StatusCode::NOT_FOUND) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
    let nodes = graph["graph"].as_array().cloned().unwrap_or_default();
    let edges = nodes.iter().flat_map(|node| node["inEdges"].as_array().cloned().unwrap_or_default());
    let mut edges: Vec<String> =
        edges.filter_map(|e| Some(format!("{} → {}", e["origin"].as_str()?, e["destination"].as_str()?))).collect();
    edges.sort();
    edges.dedup();
    Ok((!edges.is_empty()).then_some(edges))
}

/// The newest entry about a path that contains `request`.
async fn audited(api: &TenantApi, request: &str) -> anyhow::Result<Option<String>> {
    let page: Value = api.get("read the audit log", "/api/v1/audit/entries?pageSize=200").await?;
    let entries = page["data"].as_array().cloned().unwrap_or_default();
    let found = entries.iter().find(|entry| entry["resource"].as_str().is_some_and(|r| r.contains(request)));
    let word = |entry: &Value, name: &str| entry[name].as_str().unwrap_or("-").to_owned();
    Ok(found.map(|e| {
        format!(
            "{} {} {} {} ({})",
            word(e, "occurredAt"),
            word(e, "actor"),
            word(e, "action"),
            word(e, "resource"),
            word(e, "outcome")
        )
    }))
}
