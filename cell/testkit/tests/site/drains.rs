//! A cell is emptied: by moves while it works, by routes when it is lost. Both leave the site's dedicated cell empty, so
//! they come last.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use reqwest::Method;
use serde_json::Value;
use testkit::within;

use crate::rows;
use crate::world::{DEDICATED, OWNER, SHARED, World};

const PATIENCE: Duration = Duration::from_secs(300);

async fn cell(world: &World, name: &str) -> anyhow::Result<Value> {
    world.admin.call(Method::GET, &format!("/api/v1/cells/{name}"), None).await?.good()
}

/// What `cyto cell <verb> dedicated-1` says.
async fn cyto(world: &World, verb: &str, words: &[&str]) -> anyhow::Result<String> {
    world.cyto(&[&["cell", verb, DEDICATED], words].concat()).await
}

pub async fn a_cell_is_emptied_while_it_works(world: Arc<World>) -> anyhow::Result<()> {
    let tenant = world.tenant_in("evacuee", DEDICATED).await?;
    let stream = rows::stream(&tenant, "orders").await?;
    rows::push_all(&tenant, &stream, 0, 100).await?;
    rows::committed(&tenant, &stream, 100).await?;
    let tenants = cell(&world, DEDICATED).await?["tenants"].as_u64().context("no count")?;
    let planned = cyto(&world, "drain", &["--to", SHARED, "--plan"]).await?;
    ensure!(planned.contains(&format!("{DEDICATED} has {tenants} tenants")) && planned.contains(SHARED), "{planned}");
    ensure!(cell(&world, DEDICATED).await?["state"] == "serving", "a plan changes nothing");

    let begun = Instant::now();
    let said = cyto(&world, "drain", &["--to", SHARED]).await?;
    ensure!(said.ends_with(&format!("cell {DEDICATED} is empty, and takes no new tenants\n")), "{said}");
    println!("    {tenants} tenants with all they have: {:.1} s", begun.elapsed().as_secs_f64());
    let now = cell(&world, DEDICATED).await?;
    ensure!(now["state"] == "drained" && now["tenants"] == 0, "{now}");
    world.renew().await?;
    tenant.renew().await?;
    ensure!(tenant.get("/api/v1/me").await?["cell"] == SHARED);
    rows::push_all(&tenant, &stream, 100, 150).await?;
    rows::committed(&tenant, &stream, 150).await?;
    ensure!(rows::count(&tenant, "streams.orders").await? == 150);
    // What was there before this case too.
    ensure!(rows::count(&world.globex, "datasets.secrets").await? == 10);
    let refused = world.admin.tenant("late", OWNER, DEDICATED, world.site.flight()).await;
    ensure!(refused.is_err(), "an empty cell took a tenant");
    Ok(())
}

pub async fn a_lost_cell_is_routed_away(world: Arc<World>) -> anyhow::Result<()> {
    cyto(&world, "set", &["--serving"]).await?;
    let tenant = world.tenant_in("castaway", DEDICATED).await?;
    rows::stream(&tenant, "orders").await?;
    let killed = world.site.kill_cell(DEDICATED).await?;
    let begun = Instant::now();
    let routed = async {
        cyto(&world, "drain", &["--to", SHARED, "--lost"]).await?;
        within(PATIENCE, "its tenant is answered by another cell", || async {
            ensure!(tenant.get("/api/v1/me").await?["cell"] == SHARED);
            Ok(())
        })
        .await
    }
    .await;
    println!("    answered elsewhere after {:.1} s", begun.elapsed().as_secs_f64());
    world.site.start_killed(&killed).await?;
    routed?;
    // Nothing came along; the tenant begins anew there, and stays when the lost cell is back.
    ensure!(tenant.get("/api/v1/streams").await?["data"].as_array().is_some_and(Vec::is_empty));
    let stream = rows::stream(&tenant, "orders").await?;
    rows::push_all(&tenant, &stream, 0, 20).await?;
    rows::committed(&tenant, &stream, 20).await?;
    ensure!(cell(&world, DEDICATED).await?["state"] == "drained");
    Ok(())
}
