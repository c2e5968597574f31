//! Other people's clients, unmodified: PyIceberg, DuckDB, ADBC, pyarrow.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::rows;
use crate::world::World;

/// Runs a script of `tests/python` as acme; the facts it reports.
async fn facts(world: &World, script: &str) -> anyhow::Result<Value> {
    let python: PathBuf = testkit::python().await?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python");
    let output = tokio::process::Command::new(python)
        .arg(folder.join(script))
        .current_dir(&folder)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("CYTO_HTTP", format!("http://{}", world.site.http()))
        .env("CYTO_FLIGHT", format!("grpc://{}", world.site.flight()))
        .env("CYTO_TENANT", &world.acme.id)
        .env("CYTO_TOKEN", world.acme.fresh_token().await?)
        .env("CYTO_FOREIGN", &world.neighbour.id)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    let said = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    let tail: String =
        complaint.lines().rev().take(6).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join(" | ");
    ensure!(output.status.success(), "{script}: {tail}");
    let line = said.lines().last().with_context(|| format!("{script} reported nothing: {tail}"))?;
    serde_json::from_str(line).with_context(|| format!("{script}: {line}"))
}

pub async fn pyiceberg_reads_and_writes(world: Arc<World>) -> anyhow::Result<()> {
    let facts = facts(&world, "iceberg_pyiceberg.py").await?;
    let expected = json!({
        "read": 100, "filtered": 10, "written": 2000, "columns": ["n", "note"], "snapshots": 2, "foreign": "refused"
    });
    ensure!(facts == expected, "{facts}");
    ensure!(rows::count(&world.acme, "lab.squares").await? == 2_000, "SQL does not see what PyIceberg wrote");
    Ok(())
}

pub async fn duckdb_reads(world: Arc<World>) -> anyhow::Result<()> {
    let facts = facts(&world, "iceberg_duckdb.py").await?;
    ensure!(facts == json!({ "count": 100, "total": 4950, "missing": 15 }), "{facts}");
    Ok(())
}

pub async fn adbc_asks(world: Arc<World>) -> anyhow::Result<()> {
    let facts = facts(&world, "flight_adbc.py").await?;
    for (name, expected) in [
        ("count", json!(100)),
        ("rows", json!(100)),
        ("columns", json!(["id", "city", "amount"])),
        ("bound", json!(10)),
        ("only_own", json!(true)),
        ("schema", json!(["id", "city", "amount", "at"])),
        ("foreign", json!("refused")),
    ] {
        ensure!(facts[name] == expected, "{name}: {facts}");
    }
    Ok(())
}

pub async fn pyarrow_asks(world: Arc<World>) -> anyhow::Result<()> {
    let facts = facts(&world, "flight_pyarrow.py").await?;
    ensure!(facts == json!({ "groups": 50, "rows": 100, "anonymous": "refused" }), "{facts}");
    Ok(())
}
