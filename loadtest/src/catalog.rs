//! The Iceberg catalog: tables loaded and commits made, one after the other.

use std::time::{Duration, Instant};

use anyhow::Context;
use reqwest::Method;
use serde_json::json;

use crate::door::Door;
use crate::figures::Figures;
use crate::tables::Tables;

/// Loads the table of flights and sets a property of it, `repetitions` times each.
pub async fn measure(door: &Door, tables: &Tables, repetitions: usize, figures: &mut Figures) -> anyhow::Result<()> {
    let name = tables.names().get("flights").context("no table of flights")?;
    let (namespace, table) = name.split_once('.').context("a table without a namespace")?;
    let path = format!("/iceberg/v1/{}/namespaces/{namespace}/tables/{table}", door.tenant());
    let mut loads = Vec::with_capacity(repetitions);
    for _ in 0..repetitions {
        let started = Instant::now();
        door.json(door.request(Method::GET, &path)).await?;
        loads.push(started.elapsed());
    }
    figures.add_times("catalog, table loaded", &loads);
    let mut commits = Vec::with_capacity(repetitions);
    for number in 0..repetitions {
        let update = json!({ "action": "set-properties", "updates": { "bench": number.to_string() } });
        let commit = json!({ "requirements": [], "updates": [update] });
        let started = Instant::now();
        door.json(door.request(Method::POST, &path).json(&commit)).await?;
        commits.push(started.elapsed());
    }
    figures.add_times("catalog, commit", &commits);
    let seconds = commits.iter().sum::<Duration>().as_secs_f64();
    figures.add("catalog, commits to one table", repetitions as f64 / seconds, "1/s");
    Ok(())
}
