//! Ten times what a tenant may, for a while: the excess is refused at once, memory stays bounded, and afterwards
//! everything is as before.

use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use reqwest::Method;
use testkit::within;

use crate::calls::{Answers, Arrival, asked, calls, told};
use crate::neighbour::heavy;
use crate::world::{REQUESTS, STATEMENTS, World};

const TIME: Duration = Duration::from_secs(60);
/// Afterwards, one call is as quick as ever within this time.
const RECOVERY: Duration = Duration::from_secs(10);
/// What the cell's process may hold more than before.
const GROWTH_MIB: u64 = 900;

fn bounded(world: &World, before: u64, answers: &Answers, slowest_ms: f64) -> anyhow::Result<()> {
    let after = world.memory_mib()?;
    println!(
        "    {} calls: {} good, p50 {:.1} ms, p99 {:.1} ms; refused {:?}; memory {before} -> {after} MiB",
        answers.all(),
        answers.good.len(),
        answers.quantile(0.5),
        answers.quantile(0.99),
        answers.refused
    );
    ensure!(answers.broken.is_empty(), "{} broken, the first: {:?}", answers.broken.len(), answers.broken.first());
    ensure!(answers.unadvised == 0, "{} refusals without advice", answers.unadvised);
    ensure!(answers.refusals() > 0, "nothing was refused: this was no flood");
    ensure!(answers.quantile(1.0) <= slowest_ms, "an accepted call took {:.0} ms", answers.quantile(1.0));
    ensure!(after <= before + GROWTH_MIB, "memory grew from {before} to {after} MiB");
    Ok(())
}

pub async fn of_requests(world: Arc<World>) -> anyhow::Result<()> {
    world.renew().await?;
    let (tenant, before) = (world.crowd.clone(), world.memory_mib()?);
    let call = {
        let tenant = tenant.clone();
        move || told(tenant.request(Method::GET, "/api/v1/streams"))
    };
    let clients = 10;
    let answers = calls(clients, Arrival::Together, Duration::from_secs(1) / REQUESTS, TIME, call).await;
    bounded(&world, before, &answers, 2_000.0)?;
    within(RECOVERY, "a request is answered again", || async { tenant.get("/api/v1/streams").await.map(drop) }).await
}

pub async fn of_statements(world: Arc<World>) -> anyhow::Result<()> {
    world.renew().await?;
    let sql = heavy(&world.crowd).await?;
    let (client, before) = (world.crowd.sql().await?, world.memory_mib()?);
    let call = {
        let (client, sql) = (client.clone(), sql.clone());
        move || {
            let (client, sql) = (client.clone(), sql.clone());
            async move { asked(client, &sql).await }
        }
    };
    let answers = calls(STATEMENTS * 10, Arrival::Together, Duration::from_millis(50), TIME, call).await;
    bounded(&world, before, &answers, 30_000.0)?;
    within(RECOVERY, "a statement is answered again", || async {
        let told = asked(client.clone(), &sql).await;
        ensure!(matches!(told, crate::calls::Told::Good), "{told:?}");
        Ok(())
    })
    .await
}
