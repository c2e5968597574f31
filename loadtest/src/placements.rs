//! A change of a tenant's placement: until it is committed, and from then on until the router has it.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use reqwest::Method;
use serde_json::{Value, json};

use crate::door::{CELL, Door};
use crate::figures::Figures;

const CHANGES: usize = 300;
/// Longer than any change takes.
const PATIENCE: Duration = Duration::from_secs(10);

pub async fn measure(door: &Door, figures: &mut Figures) -> anyhow::Result<()> {
    let (mut committed, mut visible) = (Vec::new(), Vec::new());
    let path = format!("/api/v1/tenants/{}/placements", door.tenant());
    for _ in 0..CHANGES {
        let begun = Instant::now();
        let request = door.at_global(Method::POST, &path).json(&json!({ "cell": CELL }));
        let generation = door.json(request).await?["generation"].as_u64().context("a placement has a generation")?;
        committed.push(begun.elapsed());
        let begun = Instant::now();
        while routed(door).await? < generation {
            ensure!(begun.elapsed() < PATIENCE, "the router does not hear of generation {generation}");
        }
        visible.push(begun.elapsed());
    }
    figures.add_times("a placement, until it is committed", &committed);
    figures.add_times("a placement, from there until the router has it", &visible);
    Ok(())
}

/// The generation at which the router would place the tenant now.
async fn routed(door: &Door) -> anyhow::Result<u64> {
    let explained: Value = door.json(door.of_router(&format!("/routes/{}.localhost", door.tenant()))).await?;
    Ok(explained["decision"]["generation"].as_u64().unwrap_or_default())
}
