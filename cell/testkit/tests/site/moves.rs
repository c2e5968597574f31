//! A tenant moves between cells while it is in use: nothing acknowledged is lost, nothing is there twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Tenant, within};

use crate::databases::rows_of;
use crate::world::{DEDICATED, OWNER, SHARED, World};
use crate::{rows, sockets};

/// A whole move on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
const BATCH: u64 = 5;

/// A tenant that may live in both cells.
async fn mobile(world: &World, name: &str) -> anyhow::Result<Tenant> {
    let suffix = uuid::Uuid::new_v4().simple().to_string();
    let id = format!("{name}-{}", suffix.get(..8).unwrap_or_default());
    world.admin.tenant(&id, OWNER, SHARED, world.site.flight()).await
}

async fn begin(world: &World, tenant: &Tenant, to: &str) -> anyhow::Result<Value> {
    let path = format!("/api/v1/tenants/{}/moves", tenant.id);
    world.admin.call(Method::POST, &path, Some(json!({ "cell": to }))).await?.good()
}

async fn newest(world: &World, tenant: &Tenant) -> anyhow::Result<Value> {
    let path = format!("/api/v1/tenants/{}/moves", tenant.id);
    let mut page = world.admin.call(Method::GET, &path, None).await?.good()?;
    Ok(page["data"][0].take())
}

/// Waits until the tenant's newest move has come to `step`.
async fn comes_to(world: &World, tenant: &Tenant, step: &str) -> anyhow::Result<Value> {
    within(PATIENCE, &format!("the move is {step}"), || async {
        let now = newest(world, tenant).await?;
        ensure!(now["step"] == step, "{now}");
        Ok(now)
    })
    .await
}

/// Pushes one batch after the other until it is told to stop: how many rows were acknowledged.
async fn keep_pushing(tenant: Tenant, stream: String, from: u64, enough: Arc<AtomicBool>) -> anyhow::Result<u64> {
    let mut next = from;
    while !enough.load(Ordering::Relaxed) {
        rows::push_all(&tenant, &stream, next, next + BATCH).await.with_context(|| format!("rows from {next}"))?;
        next += BATCH;
    }
    Ok(next)
}

/// The rows `0..to` of the stream, each once.
async fn are_all_there(tenant: &Tenant, stream: &str, to: u64) -> anyhow::Result<()> {
    rows::committed(tenant, stream, to).await?;
    let to = i64::try_from(to)?;
    ensure!(rows::count(tenant, "streams.orders").await? == to);
    ensure!(rows::number(tenant, "select count(distinct id) from streams.orders").await? == to);
    ensure!(rows::number(tenant, "select sum(id) from streams.orders").await? == to * (to - 1) / 2);
    Ok(())
}

/// The audit log has so many entries at least, in one chain that holds.
async fn audited(tenant: &Tenant, calls: u64) -> anyhow::Result<()> {
    within(PATIENCE, "every call is in the audit log", || async {
        let chain = tenant.get("/api/v1/audit/verify").await?;
        ensure!(chain["intact"] == true && chain["entries"].as_u64() >= Some(calls), "{chain}, {calls} calls");
        Ok(())
    })
    .await
}

async fn moves_under_load(
    world: &World,
    tenant: &Tenant,
    stream: &str,
    from: u64,
    to: &str,
) -> anyhow::Result<(u64, i64)> {
    let enough = Arc::new(AtomicBool::new(false));
    let pushing = tokio::spawn(keep_pushing(tenant.clone(), stream.to_owned(), from, Arc::clone(&enough)));
    let moved = async {
        begin(world, tenant, to).await?;
        comes_to(world, tenant, "done").await
    }
    .await;
    enough.store(true, Ordering::Relaxed);
    let pushed = pushing.await?;
    let moved = moved?;
    let waited = moved["waitedMs"].as_i64().with_context(|| moved.to_string())?;
    ensure!(tenant.get("/api/v1/me").await?["cell"] == to);
    Ok((pushed.context("a push while the tenant moved")?, waited))
}

/// There and back, under a load of pushes.
pub async fn a_tenant_moves_with_everything_it_has(world: Arc<World>) -> anyhow::Result<()> {
    let tenant = mobile(&world, "mover").await?;
    let (stream, dataset) = (rows::stream(&tenant, "orders").await?, rows::dataset(&tenant, "people").await?);
    rows::upload(&tenant, &dataset, rows::csv(0, 2_000)).await?;
    rows::push_all(&tenant, &stream, 0, 100).await?;
    rows::committed(&tenant, &stream, 100).await?;

    let tail =
        tenant.request(Method::GET, &format!("/api/v1/streams/{stream}/tail")).send().await?.error_for_status()?;
    let socket = sockets::watch(&tenant, &stream).await?;
    let (pushed, waited) = moves_under_load(&world, &tenant, &stream, 100, DEDICATED).await?;
    // It ends with the tenant's stay in the cell that serves it, and is not left hanging.
    tokio::time::timeout(PATIENCE, tail.bytes()).await.context("a live tail outlives its tenant's stay")??;
    tokio::time::timeout(PATIENCE, sockets::to_the_end(socket)).await.context("and so does a WebSocket")??;
    are_all_there(&tenant, &stream, pushed).await?;
    ensure!(rows::count(&tenant, "datasets.people").await? == 2_000);
    // A stream, a dataset, an upload, a first push, and all that followed.
    audited(&tenant, 4 + (pushed - 100) / BATCH).await?;
    for (service, table, rows) in rows_of(&world, SHARED, &tenant.id).await? {
        let is_kept = ["audit_entry", "tenant_fence"].contains(&table.as_str());
        ensure!(rows == 0 || is_kept, "{rows} rows are left in {service}.{table}");
    }

    let (pushed, back) = moves_under_load(&world, &tenant, &stream, pushed, SHARED).await?;
    are_all_there(&tenant, &stream, pushed).await?;
    rows::upload(&tenant, &dataset, rows::csv(0, 300)).await?;
    ensure!(rows::count(&tenant, "datasets.people").await? == 300);
    audited(&tenant, 5 + (pushed - 100) / BATCH).await?;
    println!("    requests waited {waited} ms there and {back} ms back, {pushed} rows");
    Ok(())
}

/// Everybody who takes part is killed, one after the other, and the move comes to its end.
pub async fn a_move_outlives_everybody_who_takes_part(world: Arc<World>) -> anyhow::Result<()> {
    let tenant = mobile(&world, "survivor").await?;
    let stream = rows::stream(&tenant, "orders").await?;
    rows::push_all(&tenant, &stream, 0, 100).await?;
    rows::committed(&tenant, &stream, 100).await?;
    begin(&world, &tenant, DEDICATED).await?;
    for cell in [DEDICATED, SHARED] {
        let killed = world.site.kill_cell(cell).await?;
        world.site.start_killed(&killed).await?;
    }
    let global = world.site.processes("global.global")?;
    world.site.kill(&global).await?;
    world.site.start_killed(&global).await?;
    world.renew().await?;
    comes_to(&world, &tenant, "done").await?;
    tenant.renew().await?;
    ensure!(tenant.get("/api/v1/me").await?["cell"] == DEDICATED);
    rows::push_all(&tenant, &stream, 100, 200).await?;
    are_all_there(&tenant, &stream, 200).await
}

/// What cannot be moved is refused, and what is under way can be given up before its fence.
pub async fn a_move_is_refused_or_given_up(world: Arc<World>) -> anyhow::Result<()> {
    let tenant = mobile(&world, "stayer").await?;
    let path = format!("/api/v1/tenants/{}/moves", tenant.id);
    for (cell, status, code) in [(SHARED, 422, "tenancy/invalid"), ("nowhere", 422, "tenancy/invalid")] {
        let answer = world.admin.call(Method::POST, &path, Some(json!({ "cell": cell }))).await?;
        let problem = answer.refused(&[status])?;
        ensure!(problem["code"] == code, "{problem}");
    }
    let foreign = world.tenant("foreign").await?;
    let of_foreign = format!("/api/v1/tenants/{}/moves", foreign.id);
    let answer = world.admin.call(Method::POST, &of_foreign, Some(json!({ "cell": DEDICATED }))).await?;
    ensure!(answer.refused(&[412])?["code"] == "tenancy/placement", "{}", answer.excerpt());
    let none = world.admin.call(Method::DELETE, &path, None).await?;
    ensure!(none.refused(&[404])?["code"] == "tenancy/not-found", "{}", none.excerpt());

    // Its new cell is away: the move waits at its first step and can be given up.
    let killed = world.site.kill_cell(DEDICATED).await?;
    let given_up = async {
        begin(&world, &tenant, DEDICATED).await?;
        within(PATIENCE, "the move says why it waits", || async {
            let now = newest(&world, &tenant).await?;
            ensure!(now["step"] == "copy" && now["problem"].is_string(), "{now}");
            Ok(())
        })
        .await?;
        let removal = world.admin.call(Method::DELETE, &format!("/api/v1/tenants/{}", tenant.id), None).await?;
        ensure!(removal.refused(&[409])?["code"] == "tenancy/moving", "{}", removal.excerpt());
        world.admin.call(Method::DELETE, &path, None).await?.good()
    }
    .await;
    world.site.start_killed(&killed).await?;
    given_up?;
    comes_to(&world, &tenant, "cancelled").await?;
    ensure!(tenant.get("/api/v1/me").await?["cell"] == SHARED);
    Ok(())
}
