//! `cyto demo` itself, on all of its real input, twice: the second run finds the first one's tenants.

use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::world::World;

const FLIGHTS: u64 = 336_776;

async fn demo(world: &World) -> anyhow::Result<()> {
    let output = tokio::process::Command::new(testkit::binary("cyto")?)
        .arg("--state")
        .arg(world.site.state())
        .arg("demo")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{} {}", said, String::from_utf8_lossy(&output.stderr));
    ensure!(said.lines().any(|line| line.starts_with("demo: ok")), "{said}");
    let path = world.site.state().join("demo.json");
    let report: Value = serde_json::from_slice(&std::fs::read(&path).with_context(|| path.display().to_string())?)?;
    for (tenant, cell) in [("acme", "shared-1"), ("globex", "dedicated-1")] {
        let facts = &report["tenants"][tenant];
        let counts = ["rows_sent", "rows_committed", "rows_read_back"].map(|name| facts[name].as_u64());
        ensure!(counts == [Some(FLIGHTS); 3] && facts["cell"] == cell, "{tenant}: {facts}");
    }
    Ok(())
}

pub async fn every_flight_arrives(world: Arc<World>) -> anyhow::Result<()> {
    demo(&world).await
}

pub async fn a_second_run_is_right_too(world: Arc<World>) -> anyhow::Result<()> {
    demo(&world).await
}
