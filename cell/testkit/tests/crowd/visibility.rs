//! How soon a change of the routing log is in force at a router, while a cell's tenants are routed away in a table of
//! a million.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection};
use stack::addresses::ROUTER_ADMIN_PORT;
use testkit::{Tenant, within};

use crate::world::{SHARED, World};

/// Tenants of the table, and those of them that are routed away; `CYTO_TENANTS` and a tenth of it.
const TENANTS: i64 = 1_000_000;
const PATIENCE: Duration = Duration::from_secs(600);
const SAMPLES: usize = 200;
/// Cells of tenants that nobody is: one that is lost, and one that takes its tenants.
const LOST: &str = "ghosts-1";
const TAKES: &str = "ghosts-2";
const STAYS: &str = "ghosts-3";

async fn database(world: &World) -> anyhow::Result<PgConnection> {
    let secret = world.site.state().join("global/secrets/admin.postgres");
    let password = std::fs::read_to_string(&secret).with_context(|| secret.display().to_string())?;
    let options = PgConnectOptions::new_without_pgpass()
        .host(&world.site.global_address().ip().to_string())
        .username("postgres")
        .password(password.trim())
        .database("tenancy");
    Ok(options.connect().await?)
}

/// Tenants as if they had been made one by one, which would take an hour.
async fn furnish(world: &World, tenants: i64) -> anyhow::Result<()> {
    let body = json!({ "id": "ghosts", "name": "ghosts" });
    world.admin.call(Method::POST, "/api/v1/organisations", Some(body)).await?.good()?;
    for (number, cell) in [LOST, TAKES, STAYS].into_iter().enumerate() {
        let at = |port: u16| format!("127.0.9.{}:{port}", number + 1);
        let body = json!({ "id": cell, "http": at(8080), "flight": at(50133), "kind": "shared" });
        world.admin.call(Method::POST, "/api/v1/cells", Some(body)).await?.good()?;
    }
    let mut db = database(world).await?;
    let mut all = db.begin().await?;
    let (first,): (i64,) =
        sqlx::query_as("update writer set generation = generation + $1 returning generation - $1 + 1")
            .bind(tenants)
            .fetch_one(&mut *all)
            .await?;
    sqlx::query(
        "insert into tenants (id, organisation, cell, generation)
         select 'ghost-' || n, 'ghosts', case when n % 10 = 0 then $3 else $4 end, $1 + n from generate_series(0, $2 - 1) n",
    )
    .bind(first)
    .bind(tenants)
    .bind(LOST)
    .bind(STAYS)
    .execute(&mut *all)
    .await?;
    sqlx::query("insert into hosts (host, tenant, own) select id || '.localhost', id, true from tenants where id like 'ghost-%'")
        .execute(&mut *all)
        .await?;
    Ok(all.commit().await?)
}

struct Operators {
    client: Client,
    router: SocketAddr,
}

impl Operators {
    async fn get(&self, path: &str) -> anyhow::Result<Value> {
        Ok(self.client.get(format!("http://{}{path}", self.router)).send().await?.json().await?)
    }

    async fn tier_of(&self, tenant: &str) -> anyhow::Result<Value> {
        Ok(self.get(&format!("/routes/{tenant}.localhost")).await?["decision"]["tier"].take())
    }
}

/// Requests of a tenant whose cell works, until it is told to stop: how many, and those that were not answered well.
async fn keep_asking(tenant: Tenant, enough: Arc<AtomicBool>) -> (u64, Vec<String>) {
    let (mut asked, mut failed) = (0, Vec::new());
    let mut beat = tokio::time::interval(Duration::from_millis(20));
    while !enough.load(Ordering::Relaxed) {
        beat.tick().await;
        asked += 1;
        match tenant.answer(Method::GET, "/api/v1/me").await {
            Ok(answer) if answer.status.is_success() => {}
            Ok(answer) => failed.push(format!("{} {}", answer.status, answer.excerpt())),
            Err(error) => failed.push(format!("{error:#}")),
        }
    }
    (asked, failed)
}

/// From a change's answer to the moment at which the router goes by it.
async fn sample(
    world: &World,
    operators: &Operators,
    tenant: &str,
    tier: &str,
) -> anyhow::Result<(Duration, Duration)> {
    let begun = Instant::now();
    let path = format!("/api/v1/tenants/{tenant}/tier");
    world.admin.call(Method::PUT, &path, Some(json!({ "tier": tier }))).await?.good()?;
    let answered = Instant::now();
    while operators.tier_of(tenant).await? != tier {
        ensure!(answered.elapsed() < PATIENCE, "the change does not arrive");
        tokio::task::yield_now().await;
    }
    Ok((answered - begun, answered.elapsed()))
}

fn quantile(sorted: &[Duration], of: f64) -> f64 {
    let at = ((sorted.len() as f64 * of).ceil() as usize).clamp(1, sorted.len()) - 1;
    sorted[at].as_secs_f64() * 1e3
}

/// Has a router begin anew with the whole table.
async fn arrives(world: &World, operators: &Operators, tenants: i64) -> anyhow::Result<()> {
    let begun = Instant::now();
    world.site.restart_router_anew().await?;
    within(PATIENCE, "the router has the table", || async {
        let has = operators.get("/routes").await?["tenants"].as_i64().unwrap_or_default();
        ensure!(has >= tenants, "{has} tenants");
        Ok(())
    })
    .await?;
    println!("    {tenants} tenants came to a new router in {:.1} s", begun.elapsed().as_secs_f64());
    Ok(())
}

/// A tenant whose tier's limits are its cell's too, in the place of the small ones of this site.
async fn asking(world: &World, operators: &Operators) -> anyhow::Result<Tenant> {
    for (tier, rate) in [("one", 0), ("other", 0), ("roomy", 1_000)] {
        let limits = json!({ "requestsPerSecond": rate, "requestBurst": rate, "concurrentRequests": rate, "bytesPerSecond": 0, "byteBurst": 0 });
        world.admin.call(Method::PUT, &format!("/api/v1/tiers/{tier}"), Some(limits)).await?.good()?;
    }
    world.admin.tenant("sampled", "sampled-corp", SHARED, world.site.flight()).await?;
    let asking = world.admin.tenant("asking", "sampled-corp", SHARED, world.site.flight()).await?;
    sample(world, operators, "asking", "roomy").await?;
    Ok(asking)
}

async fn left(world: &World) -> anyhow::Result<u64> {
    let cell = world.admin.call(Method::GET, &format!("/api/v1/cells/{LOST}"), None).await?.good()?;
    cell["tenants"].as_u64().context("no count")
}

/// How long changes took to be written, and to be in force after that, while the lost cell is emptied.
#[derive(Default)]
struct Beside {
    writes: Vec<Duration>,
    visible: Vec<Duration>,
}

impl Beside {
    async fn of(world: &World, operators: &Operators) -> anyhow::Result<Self> {
        let mut beside = Self::default();
        while beside.visible.len() < SAMPLES && left(world).await? > 0 {
            for tier in ["one", "other"] {
                let (write, seen) = sample(world, operators, "sampled", tier).await?;
                beside.writes.push(write);
                beside.visible.push(seen);
            }
        }
        beside.writes.sort_unstable();
        beside.visible.sort_unstable();
        Ok(beside)
    }

    fn say(&self) {
        let Self { writes, visible } = self;
        println!(
            "    {} changes beside it: written after p50 {:.0} ms, p99 {:.0} ms; in force p50 {:.1} ms, p99 {:.1} ms, at most {:.1} ms after that",
            visible.len(),
            quantile(writes, 0.5),
            quantile(writes, 0.99),
            quantile(visible, 0.5),
            quantile(visible, 0.99),
            quantile(visible, 1.0)
        );
    }
}

pub async fn in_a_table_of_a_million(world: Arc<World>) -> anyhow::Result<()> {
    let tenants: i64 = std::env::var("CYTO_TENANTS").ok().and_then(|text| text.parse().ok()).unwrap_or(TENANTS);
    let router = SocketAddr::new(world.site.http().ip(), ROUTER_ADMIN_PORT);
    let operators = Operators { client: Client::builder().no_proxy().build()?, router };
    world.renew().await?;
    furnish(&world, tenants).await?;
    arrives(&world, &operators, tenants).await?;
    let asking = asking(&world, &operators).await?;
    let enough = Arc::new(AtomicBool::new(false));
    let asking = tokio::spawn(keep_asking(asking, Arc::clone(&enough)));
    let begun = Instant::now();
    let body = json!({ "way": "route", "to": TAKES });
    world.admin.call(Method::POST, &format!("/api/v1/cells/{LOST}/drains"), Some(body)).await?.good()?;
    let beside = Beside::of(&world, &operators).await?;
    within(PATIENCE, "the cell is empty", || async {
        let left = left(&world).await?;
        ensure!(left == 0, "{left} tenants are left");
        Ok(())
    })
    .await?;
    let took = begun.elapsed().as_secs_f64();
    enough.store(true, Ordering::Relaxed);
    let (asked, failed) = asking.await?;
    let moved = tenants / 10;
    println!("    {moved} tenants were routed away in {took:.1} s: {:.0} changes/s", moved as f64 / took);
    beside.say();
    println!("    {asked} requests beside it, {} failed", failed.len());
    ensure!(failed.is_empty(), "the first: {:?}", failed.first());
    let moved = operators.get("/routes/ghost-0.localhost").await?;
    ensure!(moved["decision"]["cell"] == TAKES, "{moved}");
    Ok(())
}
