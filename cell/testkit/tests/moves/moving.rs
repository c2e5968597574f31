//! Moves tenants to and fro, each under the load of its client.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use futures::future::try_join_all;
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Admin, quantile, within};

use crate::client::{self, Told};
use crate::world::{CELLS, Mobile, World};

/// Tenants that are moved at the same time.
const AT_ONCE: usize = 4;
/// Of one tenant: what it has grows with every commit, and is copied each time.
const MOVES_OF_ONE: u64 = 8;
/// A whole move, whoever has to be started again for it.
const PATIENCE: Duration = Duration::from_secs(180);

/// What came of all moves and all requests.
#[derive(Default)]
pub struct Outcome {
    pub clients: Vec<(Mobile, Told)>,
    pub failures: BTreeMap<String, u64>,
    /// How long the requests of each moved tenant waited, milliseconds.
    waited: Vec<f64>,
    /// Milliseconds of each acknowledged write.
    took: Vec<f64>,
}

/// One tenant's part in it.
struct Part {
    mobile: Mobile,
    told: Told,
    waited: Vec<f64>,
}

/// `trouble` goes on until all moves are done, and ends then where it is.
pub async fn under_load(
    world: &World,
    moves: u64,
    trouble: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<Outcome> {
    world.admin.renew().await?;
    let left = AtomicU64::new(moves);
    let workers = (0..AT_ONCE).map(|_| one_after_the_other(world, &left));
    let parts = tokio::select! {
        parts = try_join_all(workers) => parts,
        ended = trouble => Err(ended.err().unwrap_or_else(|| anyhow::anyhow!("the trouble ended by itself"))),
    };
    crate::trouble::over(world).await?;
    let mut outcome = Outcome::default();
    for Part { mobile, told, waited } in parts?.into_iter().flatten() {
        told.failures.iter().for_each(|(what, count)| *outcome.failures.entry(what.clone()).or_default() += count);
        outcome.took.extend(&told.took);
        outcome.waited.extend(waited);
        outcome.clients.push((mobile, told));
    }
    ensure!(outcome.waited.len() as u64 == moves, "{} of {moves} moves", outcome.waited.len());
    Ok(outcome)
}

/// One tenant after the other, until no moves are left for anybody.
async fn one_after_the_other(world: &World, left: &AtomicU64) -> anyhow::Result<Vec<Part>> {
    let mut parts = Vec::new();
    loop {
        let own = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            (left > 0).then(|| left - left.min(MOVES_OF_ONE))
        });
        let Ok(own) = own else { return Ok(parts) };
        let mobile = world.mobile().await?;
        let enough = Arc::new(AtomicBool::new(false));
        let client = tokio::spawn(client::live(mobile.clone(), Arc::clone(&enough)));
        let waited = to_and_fro(&world.admin, &mobile, own.min(MOVES_OF_ONE)).await;
        enough.store(true, Ordering::Relaxed);
        let told = client.await??;
        parts.push(Part { mobile, told, waited: waited? });
    }
}

async fn to_and_fro(admin: &Admin, mobile: &Mobile, moves: u64) -> anyhow::Result<Vec<f64>> {
    let path = format!("/api/v1/tenants/{}/moves", mobile.tenant.id);
    let mut waited = Vec::new();
    for there in CELLS.into_iter().cycle().skip(1).take(usize::try_from(moves)?) {
        let begun = within(PATIENCE, "the move is begun", || async {
            admin.call(Method::POST, &path, Some(json!({ "cell": there }))).await?.good()
        })
        .await?;
        waited.push(done(admin, &path, &begun["id"]).await?);
    }
    Ok(waited)
}

/// Waits until the move is done: how long requests waited.
async fn done(admin: &Admin, path: &str, id: &Value) -> anyhow::Result<f64> {
    within(PATIENCE, "the move is done", || async {
        let page = admin.call(Method::GET, path, None).await?.good()?;
        let now = &page["data"][0];
        ensure!(now["id"] == *id && now["step"] == "done", "{now}");
        now["waitedMs"].as_f64().context("it does not say how long requests waited")
    })
    .await
}

impl Outcome {
    pub fn say(&self) {
        let writes = self.took.len();
        let failed: u64 = self.failures.values().sum();
        println!(
            "    {} moves of {} tenants, {writes} writes acknowledged, {failed} requests failed; requests waited p50 {:.0} ms, \
             p99 {:.0} ms, most {:.0} ms; a write took p50 {:.1} ms, p99 {:.0} ms, most {:.0} ms",
            self.waited.len(),
            self.clients.len(),
            quantile(&self.waited, 0.5),
            quantile(&self.waited, 0.99),
            quantile(&self.waited, 1.0),
            quantile(&self.took, 0.5),
            quantile(&self.took, 0.99),
            quantile(&self.took, 1.0),
        );
        self.failures.iter().for_each(|(what, count)| println!("      {count} times {what}"));
    }
}
