//! A client of one tenant: pushes rows, makes datasets, and looks whether the last one it made is there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use reqwest::Method;
use serde_json::json;
use testkit::{Answer, Tenant};

use crate::rows;
use crate::world::Mobile;

pub const BATCH: u64 = 5;
/// Between two rounds.
const REST: Duration = Duration::from_millis(150);
/// A dataset is made each time so many batches were pushed.
const DATASET_EVERY: u64 = 8;

/// What a client was told.
#[derive(Debug, Default, Clone)]
pub struct Told {
    /// Batches that were acknowledged, by number.
    pub pushed: Vec<u64>,
    /// Those of which nobody knows.
    pub unknown: Vec<u64>,
    /// Milliseconds of each write that was acknowledged.
    pub took: Vec<f64>,
    /// Requests that were not answered as they should, by what came instead.
    pub failures: BTreeMap<String, u64>,
    /// What was read and was older than what had been acknowledged.
    pub stale: Vec<String>,
}

/// Until it is told to stop.
pub async fn live(mobile: Mobile, enough: Arc<AtomicBool>) -> anyhow::Result<Told> {
    let Mobile { tenant, stream } = mobile;
    let mut told = Told::default();
    let mut made: Option<String> = None;
    let mut rest = tokio::time::interval(REST);
    for batch in 0.. {
        if enough.load(Ordering::Relaxed) {
            break;
        }
        rest.tick().await;
        let begun = Instant::now();
        let rows = rows::ndjson(batch * BATCH, (batch + 1) * BATCH);
        if told.heard("push", rows::push(&tenant, &stream, rows).await).is_some() {
            told.pushed.push(batch);
            told.took.push(begun.elapsed().as_secs_f64() * 1_000.0);
        } else {
            told.unknown.push(batch);
        }
        if batch.is_multiple_of(DATASET_EVERY) {
            made = make(&tenant, batch, &mut told).await?.or(made);
        }
        if let Some(id) = &made {
            look(&tenant, id, &mut told).await;
        }
    }
    Ok(told)
}

/// Makes a dataset; its id, if that was answered.
async fn make(tenant: &Tenant, batch: u64, told: &mut Told) -> anyhow::Result<Option<String>> {
    let begun = Instant::now();
    let request = tenant.request(Method::POST, "/api/v1/datasets").json(&json!({ "name": format!("d{batch}") }));
    let Some(answer) = told.heard("dataset", Answer::of(request).await) else { return Ok(None) };
    told.took.push(begun.elapsed().as_secs_f64() * 1_000.0);
    let id = answer.json()?["id"].as_str().map(str::to_owned);
    Ok(Some(id.context("a dataset without an id")?))
}

/// What was acknowledged is read, wherever the tenant is by now.
async fn look(tenant: &Tenant, id: &str, told: &mut Told) {
    let answer = Answer::of(tenant.request(Method::GET, &format!("/api/v1/datasets/{id}"))).await;
    if answer.as_ref().is_ok_and(|answer| answer.status == 404) {
        told.stale.push(format!("dataset {id} of {} is not found", tenant.id));
    } else {
        told.heard("look", answer);
    }
}

impl Told {
    /// The answer, if it is a good one.
    fn heard(&mut self, what: &str, answer: anyhow::Result<Answer>) -> Option<Answer> {
        let failed = match answer {
            Ok(answer) if answer.status.is_success() => return Some(answer),
            Ok(answer) => {
                let code = answer.json().ok().and_then(|problem| problem["code"].as_str().map(str::to_owned));
                format!("{what}: {} {}", answer.status.as_u16(), code.unwrap_or_default())
            }
            Err(error) => format!("{what}: {}", error.root_cause()),
        };
        *self.failures.entry(failed).or_default() += 1;
        None
    }
}
