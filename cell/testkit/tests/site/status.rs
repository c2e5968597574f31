//! `cyto status`: the site as its operators see it.

use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context, ensure};
use contracts::services::SERVICES;
use serde_json::Value;
use testkit::eventually;

use crate::rows;
use crate::world::{DEDICATED, SHARED, World};

/// What it says, and whether it ended well.
async fn status(world: &World, words: &[&str]) -> anyhow::Result<(String, bool)> {
    let output = tokio::process::Command::new(testkit::binary("cyto")?)
        .arg("--state")
        .arg(world.site.state())
        .arg("status")
        .args(words)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    Ok((String::from_utf8(output.stdout)?, output.status.success()))
}

fn cell<'a>(report: &'a Value, name: &str) -> anyhow::Result<&'a Value> {
    let cells = report["cells"].as_array().context("no cells")?;
    cells.iter().find(|cell| cell["name"] == name).with_context(|| format!("no cell {name}"))
}

pub async fn a_sound_site_is_told_at_a_glance(world: Arc<World>) -> anyhow::Result<()> {
    let tenant = world.tenant("glance").await?;
    let stream = rows::stream(&tenant, "glance").await?;
    rows::push_all(&tenant, &stream, 0, 20).await?;
    rows::committed(&tenant, &stream, 20).await?;
    eventually("all is well", || async {
        let (text, well) = status(&world, &["--json"]).await?;
        let report: Value = serde_json::from_str(&text)?;
        ensure!(well && report["attention"].as_array().is_some_and(Vec::is_empty), "{}", report["attention"]);
        ensure!(report["router"]["requests"].as_u64() > Some(0), "{}", report["router"]);
        let shared = cell(&report, SHARED)?;
        ensure!(shared["servicesServing"] == SERVICES.len(), "{shared}");
        ensure!(shared["rowsCommitted"].as_u64() >= Some(20), "{shared}");
        for level in ["freshnessP99Seconds", "controlEventP99Seconds"] {
            ensure!(shared[level].as_f64().is_some_and(|seconds| seconds > 0.0), "{level}: {shared}");
        }
        let homes = report["tenants"].as_array().context("no tenants")?;
        ensure!(homes.iter().any(|home| home["tenant"] == tenant.id.as_str() && home["cell"] == SHARED), "{homes:?}");
        Ok(())
    })
    .await?;
    let (text, well) = status(&world, &[]).await?;
    ensure!(well && text.contains("all is well") && text.contains(SHARED), "{text}");
    Ok(())
}

pub async fn a_cell_that_is_gone_needs_attention(world: Arc<World>) -> anyhow::Result<()> {
    let killed = world.site.kill_cell(DEDICATED).await?;
    let told = status(&world, &["--json"]).await;
    world.site.start_killed(&killed).await?;
    let (text, well) = told?;
    let report: Value = serde_json::from_str(&text)?;
    let expected = format!("cell {DEDICATED} does not answer");
    ensure!(
        !well && report["attention"].as_array().is_some_and(|all| all.iter().any(|line| line == expected.as_str())),
        "{text}"
    );
    ensure!(cell(&report, SHARED)?["servicesServing"] == SERVICES.len(), "{text}");
    Ok(())
}
