//! Ends in order: a stop under load, a rolling restart, a cold start without the global plane.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use testkit::{Arrangement, Case, within};

use crate::load::Load;
use crate::verdict::{exactly_once, recovered};
use crate::world::{SHARED, World};

/// A process gives up its drain after 20 s.
const DEADLINE: Duration = Duration::from_secs(25);
const RESTARTS: usize = 3;

pub fn cases() -> Vec<Case<World>> {
    vec![
        Case { name: "end::a_stop_under_load_loses_nothing", run: |world| Box::pin(stop_under_load(world)) },
        Case { name: "end::a_restarted_cell_fails_no_call", run: |world| Box::pin(restarts(world)) },
        Case { name: "end::services_restarted_one_by_one_fail_no_call", run: |world| Box::pin(one_by_one(world)) },
        Case { name: "end::a_cold_start_without_the_global_plane", run: |world| Box::pin(cold_alone(world)) },
    ]
}

async fn stop_under_load(world: Arc<World>) -> anyhow::Result<()> {
    world.site.arrange(SHARED, Arrangement::Together).await?;
    world.renew().await?;
    let (here, there) = tokio::try_join!(Load::start(&world.here), Load::start(&world.there))?;
    let names = world.site.processes("shared-1.cell")?;
    let took = world.site.stop_processes(&names).await?;
    world.site.start_killed(&names).await?;
    let (_, probes) = recovered(&here.tenant, &here.stream, &here.table).await?;
    let (tenant, _, table, mut record) = here.stop().await?;
    record.accepted.extend(&probes.accepted);
    record.doubtful.extend(&probes.doubtful);
    exactly_once(&tenant, &table, &record).await?;
    let (_, _, _, other) = there.stop().await?;
    println!(
        "    stopped after {:.1} s under load; {} of {} calls failed meanwhile",
        took.as_secs_f64(),
        record.failures.len(),
        record.calls
    );
    ensure!(took < DEADLINE, "the stop took {took:?}");
    ensure!(other.failures.is_empty(), "the other cell failed: {:?}", other.failures);
    Ok(())
}

/// The cell's process ends in order and starts again, over and over: the router lets calls wait meanwhile.
async fn restarts(world: Arc<World>) -> anyhow::Result<()> {
    world.site.arrange(SHARED, Arrangement::Together).await?;
    let whole = world.site.processes_of(SHARED)?;
    none_fails(&world, &vec![whole; RESTARTS]).await
}

/// Each service's process in turn: the router waits for the entries, and services wait for each other.
async fn one_by_one(world: Arc<World>) -> anyhow::Result<()> {
    world.site.arrange(SHARED, Arrangement::Apart).await?;
    let services = world.site.processes_of(SHARED)?;
    let outcome = none_fails(&world, &services.into_iter().map(|name| vec![name]).collect::<Vec<_>>()).await;
    world.site.arrange(SHARED, Arrangement::Together).await?;
    outcome
}

/// Restarts processes, one turn after the other, under load.
async fn none_fails(world: &World, turns: &[Vec<String>]) -> anyhow::Result<()> {
    world.renew().await?;
    let (here, there) = tokio::try_join!(Load::start(&world.here), Load::start(&world.there))?;
    for processes in turns {
        world.site.stop_processes(processes).await?;
        world.site.start_killed(processes).await?;
        let before = here.calls();
        within(DEADLINE, "calls are answered again", || async {
            ensure!(here.calls() > before + 20, "{} calls", here.calls() - before);
            Ok(())
        })
        .await?;
    }
    let (_, probes) = recovered(&here.tenant, &here.stream, &here.table).await?;
    let (tenant, _, table, mut record) = here.stop().await?;
    record.accepted.extend(&probes.accepted);
    let (_, _, _, other) = there.stop().await?;
    println!(
        "    {} restarts, {} calls, the slowest {:.1} s, {} failed",
        turns.len(),
        record.calls,
        record.slowest.as_secs_f64(),
        record.failures.len()
    );
    ensure!(record.failures.is_empty(), "{:?}", record.failures);
    ensure!(other.failures.is_empty(), "the other cell failed: {:?}", other.failures);
    exactly_once(&tenant, &table, &record).await.map(drop)
}

/// Router and cells know what they need from their own disks.
async fn cold_alone(world: Arc<World>) -> anyhow::Result<()> {
    world.renew().await?;
    let tenant = world.here.clone();
    world.site.stop_global().await?;
    let alone = async {
        world.site.restart_cell(SHARED).await.context("the cell does not start alone")?;
        world.site.restart_router().await.context("the router does not start alone")?;
        let load = Load::start(&tenant).await?;
        let (_, probes) = recovered(&load.tenant, &load.stream, &load.table).await?;
        let (tenant, _, table, mut record) = load.stop().await?;
        record.accepted.extend(&probes.accepted);
        exactly_once(&tenant, &table, &record).await?;
        ensure!(record.failures.is_empty(), "{:?}", record.failures);
        Ok(())
    };
    let outcome = alone.await;
    world.site.start_global().await?;
    outcome
}
