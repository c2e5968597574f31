//! What must survive: no global plane, a full bucket, a killed cell, a killed site.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context, ensure};
use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use testkit::{Tenant, eventually};

use crate::rows;
use crate::world::{DEDICATED, SHARED, World};

/// The global plane and its database are gone; router and cells start cold and still serve whom they
/// know, with tokens that were made before.
pub async fn known_tenants_work_without_the_global_plane(world: Arc<World>) -> anyhow::Result<()> {
    let tenants = [world.tenant("static").await?, world.tenant_in("static", DEDICATED).await?];
    let mut streams = Vec::new();
    for tenant in &tenants {
        streams.push(rows::stream(tenant, "before").await?);
    }
    let outcome = without_global(&world, &tenants, &streams).await;
    world.site.start_global().await?;
    outcome?;
    eventually("the global plane answers again", || async { world.tenant("after").await.map(drop) }).await
}

async fn without_global(world: &World, tenants: &[Tenant], streams: &[String]) -> anyhow::Result<()> {
    world.site.stop_global().await?;
    for cell in [SHARED, DEDICATED] {
        world.site.restart_cell(cell).await.with_context(|| format!("{cell} does not start alone"))?;
    }
    world.site.restart_router().await.context("the router does not start alone")?;
    for (tenant, stream) in tenants.iter().zip(streams) {
        let me = eventually("the tenant is served", || tenant.get("/api/v1/me")).await?;
        ensure!(me["tenant"] == tenant.id.as_str(), "{me}");
        rows::push_all(tenant, stream, 0, 100).await?;
        rows::committed(tenant, stream, 100).await?;
        ensure!(rows::count(tenant, "streams.before").await? == 100);
    }
    Ok(())
}

/// A cell has used up its quota: whoever writes is told so, reads go on, the cell beside it writes, and
/// what was acknowledged is committed once there is room.
pub async fn a_full_bucket_is_told_and_loses_nothing(world: Arc<World>) -> anyhow::Result<()> {
    let (tenant, other) = (world.tenant("full").await?, world.tenant_in("full", DEDICATED).await?);
    let (stream, dataset) = (rows::stream(&tenant, "orders").await?, rows::dataset(&tenant, "people").await?);
    let elsewhere = rows::dataset(&other, "people").await?;
    rows::upload(&tenant, &dataset, rows::csv(0, 100)).await?;
    rows::push_all(&tenant, &stream, 0, 50).await?;
    rows::committed(&tenant, &stream, 50).await?;
    world.site.bucket(SHARED)?.close().await?;
    let outcome = async {
        eventually("an upload is told that there is no room", || async {
            let path = format!("/api/v1/datasets/{dataset}/upload?type=SNAPSHOT&null=NA");
            let answer = tenant.send(&path, "text/csv", rows::csv(0, 200)).await?;
            let problem = answer.refused(&[503])?;
            ensure!(problem["code"] == "lakehouse/full", "{problem}");
            ensure!(answer.headers.contains_key("retry-after"), "{:?}", answer.headers);
            Ok(())
        })
        .await?;
        rows::push_all(&tenant, &stream, 50, 100).await.context("Kafka has room")?;
        ensure!(rows::count(&tenant, "streams.orders").await? == 50, "rows came in without room");
        ensure!(rows::upload(&other, &elsewhere, rows::csv(0, 100)).await?["rows"] == 100);
        Ok(())
    }
    .await;
    world.site.bucket(SHARED)?.reopen().await?;
    outcome?;
    rows::committed(&tenant, &stream, 100).await?;
    let found: BTreeSet<i64> = ids(&tenant, "streams.orders").await?.into_iter().collect();
    ensure!(found == (0..100).collect() && rows::count(&tenant, "streams.orders").await? == 100, "{found:?}");
    eventually("an upload is taken again", || rows::upload(&tenant, &dataset, rows::csv(0, 200))).await?;
    ensure!(rows::count(&tenant, "datasets.people").await? == 200);
    Ok(())
}

/// All ids of a stream's table, with repeats.
async fn ids(tenant: &Tenant, table: &str) -> anyhow::Result<Vec<i64>> {
    let batches = tenant.sql().await?.execute(&format!("select id from {table}")).await?.collect().await?;
    let mut ids = Vec::new();
    for batch in batches {
        ids.extend(cast(batch.column(0), &DataType::Int64)?.as_primitive::<Int64Type>().values().iter());
    }
    Ok(ids)
}

/// kill -9 in the middle of a push: every acknowledged row is there once. Of the one batch whose answer
/// was lost, rows may be there, but none twice.
pub async fn a_killed_cell_keeps_acknowledged_rows(world: Arc<World>) -> anyhow::Result<()> {
    const BATCH: u64 = 100;
    let tenant = world.tenant("killed").await?;
    let stream = rows::stream(&tenant, "orders").await?;
    rows::push_all(&tenant, &stream, 0, BATCH).await?;
    let pusher = {
        let (tenant, stream) = (tenant.clone(), stream.clone());
        tokio::spawn(async move {
            let mut acknowledged = 1;
            while acknowledged < 2_000 {
                let from = acknowledged * BATCH;
                if rows::push_all(&tenant, &stream, from, from + BATCH).await.is_err() {
                    break;
                }
                acknowledged += 1;
            }
            acknowledged * BATCH
        })
    };
    eventually("the sink is at work", || async {
        let view = tenant.get(&format!("/api/v1/streams/{stream}")).await?;
        ensure!(view["committedRows"].as_u64().is_some_and(|rows| rows > 0), "{view}");
        Ok(())
    })
    .await?;
    let killed = world.site.kill_cell(SHARED).await?;
    let acknowledged = pusher.await?;
    world.site.start_killed(&killed).await?;
    eventually("the cell serves again", || tenant.get("/api/v1/me")).await?;
    // One more batch behind the gap: when it is in the table, everything before it is.
    let last = 1_000_000;
    rows::push_all(&tenant, &stream, last, last + BATCH).await?;
    let found = eventually("all acknowledged rows are in the table", || async {
        let found = ids(&tenant, "streams.orders").await?;
        let set: BTreeSet<i64> = found.iter().copied().collect();
        let expected = (0..acknowledged).chain(last..last + BATCH).map(u64::cast_signed);
        let missing: Vec<i64> = expected.filter(|id| !set.contains(id)).collect();
        ensure!(missing.is_empty(), "{} rows are missing, the first is {:?}", missing.len(), missing.first());
        Ok(found)
    })
    .await?;
    let set: BTreeSet<i64> = found.iter().copied().collect();
    ensure!(set.len() == found.len(), "{} rows are there twice", found.len() - set.len());
    let extra = set.len() as u64 - acknowledged - BATCH;
    ensure!(extra <= BATCH, "{extra} rows that nobody pushed");
    Ok(())
}

/// kill -9 of everything, Kafka, Postgres and Ceph included; the next start has every row.
pub async fn a_killed_site_comes_back_with_its_data(world: Arc<World>) -> anyhow::Result<()> {
    let tenant = world.tenant("lasting").await?;
    let stream = rows::stream(&tenant, "kept").await?;
    rows::push_all(&tenant, &stream, 0, 1_000).await?;
    rows::committed(&tenant, &stream, 1_000).await?;
    // Acknowledged, and perhaps not yet in the table.
    rows::push_all(&tenant, &stream, 1_000, 1_500).await?;
    world.site.kill_and_start().await?;
    let again = eventually("the tenant signs in again", || tenant.as_user(tenant.user.clone())).await?;
    rows::committed(&again, &stream, 1_500).await?;
    ensure!(rows::count(&again, "streams.kept").await? == 1_500);
    ensure!(rows::count(&world.acme.as_user(world.acme.user.clone()).await?, "datasets.orders").await? == 100);
    ensure!(rows::count(&world.globex.as_user(world.globex.user.clone()).await?, "datasets.secrets").await? == 10);
    Ok(())
}
