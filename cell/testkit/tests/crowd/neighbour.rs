//! One tenant makes a hundred times the calls it may, and the one beside it must not notice.

use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use reqwest::Method;
use testkit::{Tenant, within};

use crate::calls::{Answers, Arrival, Told, asked, calls, told};
use crate::rows;
use crate::world::{REQUESTS, STATEMENTS, World};

const TIME: Duration = Duration::from_secs(30);
/// The neighbour stays below its own limit.
const NEIGHBOURS_PAUSE: Duration = Duration::from_millis(125);

fn listing(tenant: &Tenant) -> impl Fn() -> std::pin::Pin<Box<dyn Future<Output = Told> + Send>> + Clone + use<> {
    let tenant = tenant.clone();
    move || Box::pin(told(tenant.request(Method::GET, "/api/v1/streams")))
}

fn say(what: &str, answers: &Answers) {
    println!(
        "    {what}: {} calls, {:.2} % good, p50 {:.1} ms, p99 {:.1} ms, refused {:?}",
        answers.all(),
        answers.goodput(),
        answers.quantile(0.5),
        answers.quantile(0.99),
        answers.refused
    );
}

/// The neighbour's calls are answered. How much longer they take is told and not required: here the crowd's own
/// clients share the processors.
fn served(alone: &Answers, beside: &Answers) -> anyhow::Result<()> {
    println!("    the neighbour's p99 is {:.1} times its own alone", beside.quantile(0.99) / alone.quantile(0.99));
    ensure!(
        beside.goodput() >= 99.0,
        "{:.2} % good, {:?}, {:?}",
        beside.goodput(),
        beside.refused,
        beside.broken.first()
    );
    Ok(())
}

/// Every refusal is a 429 that says when to come again.
fn shed(crowd: &Answers, least: f64) -> anyhow::Result<()> {
    ensure!(crowd.broken.is_empty(), "{} broken calls, the first: {:?}", crowd.broken.len(), crowd.broken.first());
    ensure!(crowd.unadvised == 0, "{} refusals without advice", crowd.unadvised);
    let refused = crowd.refusals() as f64 / crowd.all().max(1) as f64;
    ensure!(refused >= least, "only {:.0} % were refused", refused * 100.0);
    Ok(())
}

pub async fn beside_a_hundredfold(world: Arc<World>) -> anyhow::Result<()> {
    world.renew().await?;
    let alone = calls(1, Arrival::Spread, NEIGHBOURS_PAUSE, TIME, listing(&world.neighbour)).await;
    let clients = 20;
    let pause = Duration::from_secs(1) * clients / (REQUESTS * 100);
    let (crowd, beside) = tokio::join!(
        calls(clients, Arrival::Spread, pause, TIME, listing(&world.crowd)),
        calls(1, Arrival::Spread, NEIGHBOURS_PAUSE, TIME, listing(&world.neighbour)),
    );
    say("alone", &alone);
    say("beside", &beside);
    say("the crowd", &crowd);
    println!(
        "    the crowd made {:.0} times what it may",
        crowd.all() as f64 / TIME.as_secs_f64() / f64::from(REQUESTS)
    );
    shed(&crowd, 0.9)?;
    served(&alone, &beside)
}

/// A statement on so many rows that it takes a while. Each try begins with the tenant's allowance whole: one that
/// began with a part of it would use up what the next one needs.
pub async fn heavy(tenant: &Tenant) -> anyhow::Result<String> {
    within(TIME, "a table of many rows", || async {
        whole_again().await;
        table_of_many_rows(tenant).await
    })
    .await
}

/// An allowance that nobody uses is whole after twice a second's worth, which is its burst.
async fn whole_again() {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    for _ in 0..=2 {
        second.tick().await;
    }
}

async fn table_of_many_rows(tenant: &Tenant) -> anyhow::Result<String> {
    let name = format!("heavy_{}", &uuid::Uuid::new_v4().simple().to_string()[..8]);
    let dataset = rows::dataset(tenant, &name).await?;
    rows::upload(tenant, &dataset, rows::csv(0, 200_000)).await?;
    Ok(format!("select city, count(*), avg(amount), count(distinct id) from datasets.{name} group by city"))
}

async fn asking(
    tenant: &Tenant,
    sql: String,
) -> anyhow::Result<impl Fn() -> std::pin::Pin<Box<dyn Future<Output = Told> + Send>> + Clone + use<>> {
    let client = tenant.sql().await?;
    Ok(move || {
        let (client, sql) = (client.clone(), sql.clone());
        Box::pin(async move { asked(client, &sql).await }) as std::pin::Pin<Box<dyn Future<Output = Told> + Send>>
    })
}

pub async fn beside_statements(world: Arc<World>) -> anyhow::Result<()> {
    beside_statements_of(&world, Arrival::Spread).await
}

/// The hardest the same crowd can hit: what it costs is told, the reach is for clients of their own.
pub async fn beside_statements_at_once(world: Arc<World>) -> anyhow::Result<()> {
    beside_statements_of(&world, Arrival::Together).await
}

async fn beside_statements_of(world: &World, arrival: Arrival) -> anyhow::Result<()> {
    world.renew().await?;
    let heavy = heavy(&world.crowd).await?;
    let name = format!("small_{}", &uuid::Uuid::new_v4().simple().to_string()[..8]);
    let dataset = rows::dataset(&world.neighbour, &name).await?;
    rows::upload(&world.neighbour, &dataset, rows::csv(0, 100)).await?;
    let small = asking(&world.neighbour, format!("select city from datasets.{name} where id = 3")).await?;
    let alone = calls(1, Arrival::Spread, NEIGHBOURS_PAUSE, TIME, small.clone()).await;
    let crowd = asking(&world.crowd, heavy).await?;
    let (crowd, beside) = tokio::join!(
        calls(STATEMENTS * 100, arrival, Duration::from_secs(1), TIME, crowd),
        calls(1, Arrival::Spread, NEIGHBOURS_PAUSE, TIME, small),
    );
    say("alone", &alone);
    say("beside", &beside);
    say("the crowd", &crowd);
    shed(&crowd, 0.5)?;
    served(&alone, &beside)
}
