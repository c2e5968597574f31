//! Moves every tenant to and fro, under the load of its client.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use futures::future::try_join_all;
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Admin, within};

use crate::client::{self, Told};
use crate::world::{CELLS, Mobile, World};

/// A whole move, whoever has to be started again for it.
const PATIENCE: Duration = Duration::from_secs(300);

/// What came of all moves and all requests.
pub struct Outcome {
    pub clients: Vec<Told>,
    pub failures: BTreeMap<String, u64>,
    /// How long the requests of each moved tenant waited, milliseconds.
    waited: Vec<f64>,
    /// Milliseconds of each acknowledged write.
    took: Vec<f64>,
}

/// `trouble` goes on until all moves are done, and ends then where it is.
pub async fn under_load(
    world: &World,
    moves: u64,
    trouble: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<Outcome> {
    world.renew().await?;
    let (enough, left) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(moves)));
    let mut clients = Vec::new();
    for mobile in &world.tenants {
        let first = next_batch(mobile).await?;
        clients.push(tokio::spawn(client::live(mobile.clone(), first, Arc::clone(&enough))));
    }
    let movers = world.tenants.iter().map(|mobile| to_and_fro(&world.admin, mobile, &left));
    let waited = tokio::select! {
        waited = try_join_all(movers) => waited,
        ended = trouble => Err(ended.err().unwrap_or_else(|| anyhow::anyhow!("the trouble ended by itself"))),
    };
    crate::trouble::over(world).await?;
    enough.store(true, Ordering::Relaxed);
    let mut outcome = Outcome { clients: Vec::new(), failures: BTreeMap::new(), waited: Vec::new(), took: Vec::new() };
    for client in clients {
        let told = client.await??;
        told.failures.iter().for_each(|(what, count)| *outcome.failures.entry(what.clone()).or_default() += count);
        outcome.took.extend(&told.took);
        outcome.clients.push(told);
    }
    outcome.waited = waited?.into_iter().flatten().collect();
    ensure!(outcome.waited.len() as u64 == moves, "{} of {moves} moves", outcome.waited.len());
    Ok(outcome)
}

/// The first batch that nobody has pushed: one case follows another on the same stream.
async fn next_batch(mobile: &Mobile) -> anyhow::Result<u64> {
    let view = mobile.tenant.get(&format!("/api/v1/streams/{}", mobile.stream)).await?;
    let accepted = view["acceptedRows"].as_u64().context("no acceptedRows")?;
    // What was pushed and not acknowledged lies in between.
    Ok((accepted / client::BATCH + 1) * 2)
}

/// One move after the other, until no more are left for anybody.
async fn to_and_fro(admin: &Admin, mobile: &Mobile, left: &AtomicU64) -> anyhow::Result<Vec<f64>> {
    let mut waited = Vec::new();
    while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
        let path = format!("/api/v1/tenants/{}/moves", mobile.tenant.id);
        let here = mobile_cell(admin, mobile).await?;
        let there = CELLS.into_iter().find(|cell| *cell != here).context("no other cell")?;
        let begun = within(PATIENCE, "the move is begun", || async {
            admin.call(Method::POST, &path, Some(json!({ "cell": there }))).await?.good()
        })
        .await?;
        waited.push(done(admin, &path, &begun["id"]).await?);
    }
    Ok(waited)
}

async fn mobile_cell(admin: &Admin, mobile: &Mobile) -> anyhow::Result<String> {
    let path = format!("/api/v1/tenants/{}", mobile.tenant.id);
    within(PATIENCE, "the tenant is found", || async {
        let tenant = admin.call(Method::GET, &path, None).await?.good()?;
        tenant["cell"].as_str().map(str::to_owned).context("it has no cell")
    })
    .await
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
            "    {} moves, {writes} writes acknowledged, {failed} requests failed; requests waited p50 {:.0} ms, p99 {:.0} ms, \
             most {:.0} ms; a write took p50 {:.1} ms, p99 {:.0} ms, most {:.0} ms",
            self.waited.len(),
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

fn quantile(of: &[f64], q: f64) -> f64 {
    let mut sorted = of.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = ((sorted.len() as f64 * q) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or(f64::NAN)
}
