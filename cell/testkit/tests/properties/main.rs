//! Calls that Schemathesis makes up from the cell's own OpenAPI document, as two tenants of one cell. Not part of
//! `cargo test`: `make security`.
//!
//! It looks for routes that answer without a token, for objects that the other tenant can read, and for failures of ours.

#[path = "../site/rows.rs"]
#[allow(dead_code)]
mod rows;
mod world;

use std::path::Path;
use std::process::{ExitCode, Stdio};
use std::sync::Arc;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use testkit::{Case, Suite, Tenant};

use crate::world::World;

/// Calls made up for each operation.
const EXAMPLES: &str = "40";
const CHECKS: &str = "not_a_server_error,ignored_auth,object_level_authorization,use_after_free";

fn main() -> ExitCode {
    let cases = vec![Case { name: "properties::of_every_operation", run: |world| Box::pin(every_operation(world)) }];
    Suite::new(cases).run(World::start, World::stop)
}

/// The tenants as Schemathesis wants to know them: neither may see what is the other's.
async fn users(one: &Tenant, other: &Tenant) -> anyhow::Result<Value> {
    let user = |name: &str, token: String| json!({ "name": name, "fixedHeaders": [{ "name": "Authorization", "value": format!("Bearer {token}") }] });
    Ok(json!({ "auth": [user("one", one.fresh_token().await?), user("other", other.fresh_token().await?)] }))
}

async fn every_operation(world: Arc<World>) -> anyhow::Result<()> {
    let folder = world.site.state().join("properties");
    std::fs::create_dir_all(&folder)?;
    for (tenant, name) in [(&world.one, "of_one"), (&world.other, "of_other")] {
        let dataset = rows::dataset(tenant, name).await?;
        rows::upload(tenant, &dataset, rows::csv(0, 10)).await?;
        let stream = rows::stream(tenant, name).await?;
        rows::push_all(tenant, &stream, 0, 10).await?;
        rows::committed(tenant, &stream, 10).await?;
    }
    let write = |name: &str, value: &Value| std::fs::write(folder.join(name), value.to_string());
    write("openapi.json", &world.one.get("/openapi.json").await?)?;
    write("users.json", &users(&world.one, &world.other).await?)?;
    let hooks = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/schemathesis_hooks.py");
    std::fs::copy(hooks, folder.join("hooks.py"))?;
    let settings =
        "hooks = \"hooks\"\n[auth.wfc]\npath = \"users.json\"\nuser = \"one\"\npeers = [\"one\", \"other\"]\n";
    std::fs::write(folder.join("schemathesis.toml"), settings)?;
    let told = run(&world, &folder).await?;
    ensure!(told.success, "{}", told.said);
    let report: Value = serde_json::from_slice(&std::fs::read(folder.join("report.json"))?)?;
    let number =
        |at: &str| report.pointer(at).and_then(Value::as_u64).with_context(|| format!("no {at} in the report"));
    let (all, tested) = (number("/operations/total")?, number("/operations/tested")?);
    println!("    {tested} operations, {} calls: {}", number("/test_cases/generated")?, told.last);
    ensure!(tested == all && all >= 50, "{tested} of {all} operations were tried");
    Ok(())
}

struct Told {
    success: bool,
    said: String,
    last: String,
}

async fn run(world: &World, folder: &Path) -> anyhow::Result<Told> {
    let program = testkit::part("schemathesis").await?.path("bin/python");
    let output = tokio::process::Command::new(program)
        .args(["-m", "schemathesis.cli", "run", "openapi.json", "--url", &format!("http://{}", world.site.http())])
        .args(["--checks", CHECKS, "--max-examples", EXAMPLES, "--seed", "1", "--generation-deterministic"])
        .args(["--continue-on-failure", "--no-color", "--warnings", "off", "--report-json-path", "report.json"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .context("Schemathesis does not start")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().to_owned();
    Ok(Told { success: output.status.success(), said, last })
}
