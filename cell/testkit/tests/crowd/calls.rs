//! Many calls at a pace, and what they were answered.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

/// What one call came to.
#[derive(Debug, Clone)]
pub enum Told {
    Good,
    /// By its code; whether it was told when to come again.
    Refused {
        code: String,
        advised: bool,
    },
    Broken(String),
}

#[derive(Debug, Default, Clone)]
pub struct Answers {
    /// Milliseconds of the good ones.
    pub good: Vec<f64>,
    pub refused: BTreeMap<String, u64>,
    pub unadvised: u64,
    pub broken: Vec<String>,
}

impl Answers {
    pub fn all(&self) -> u64 {
        self.good.len() as u64 + self.refusals() + self.broken.len() as u64
    }

    pub fn refusals(&self) -> u64 {
        self.refused.values().sum()
    }

    /// Part of the calls that were good, in percent.
    pub fn goodput(&self) -> f64 {
        self.good.len() as f64 * 100.0 / self.all().max(1) as f64
    }

    /// Milliseconds of the good ones.
    pub fn quantile(&self, q: f64) -> f64 {
        testkit::quantile(&self.good, q)
    }

    fn take(&mut self, told: Told, took: Duration) {
        match told {
            Told::Good => self.good.push(took.as_secs_f64() * 1000.0),
            Told::Refused { code, advised } => {
                *self.refused.entry(code).or_default() += 1;
                self.unadvised += u64::from(!advised);
            }
            Told::Broken(why) => self.broken.push(why),
        }
    }
}

/// When clients make their first call; from then on each keeps its own beat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// One after the other over the first pause, as clients do that know nothing of each other.
    Spread,
    /// All in the same moment.
    Together,
}

/// `clients` of them call for `time`, each at most every `pause`; a call that takes longer is not made up for.
pub async fn calls<F, C>(clients: u32, arrival: Arrival, pause: Duration, time: Duration, call: F) -> Answers
where
    F: Fn() -> C + Clone + Send + 'static,
    C: Future<Output = Told> + Send,
{
    let answers = Arc::new(Mutex::new(Answers::default()));
    let (mut tasks, start, until) = (JoinSet::new(), tokio::time::Instant::now(), Instant::now() + time);
    for client in 0..clients {
        let (answers, call) = (Arc::clone(&answers), call.clone());
        let first = match arrival {
            Arrival::Spread => start + pause * client / clients,
            Arrival::Together => start,
        };
        tasks.spawn(async move {
            let mut beat = tokio::time::interval_at(first, pause);
            beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while Instant::now() < until {
                beat.tick().await;
                let begun = Instant::now();
                let told = call().await;
                answers.lock().take(told, begun.elapsed());
            }
        });
    }
    while tasks.join_next().await.is_some() {}
    answers.lock().clone()
}

/// One request, and what its answer says.
pub async fn told(request: reqwest::RequestBuilder) -> Told {
    let answer = match testkit::Answer::of(request).await {
        Ok(answer) => answer,
        Err(error) => return Told::Broken(format!("{error:#}")),
    };
    if answer.status.is_success() {
        return Told::Good;
    }
    let code = answer.json().ok().and_then(|problem| problem["code"].as_str().map(str::to_owned));
    match (answer.status.as_u16(), code) {
        (429 | 503, Some(code)) => Told::Refused { code, advised: answer.headers.contains_key("retry-after") },
        (status, code) => Told::Broken(format!("{status} {code:?}")),
    }
}

/// One statement, and what it came to.
pub async fn asked(client: flight_sql::Client, sql: &str) -> Told {
    let outcome = match client.execute(sql).await {
        Ok(results) => results.collect().await.map(drop),
        Err(error) => Err(error),
    };
    let Err(error) = outcome else { return Told::Good };
    let Some(status) = error.status() else { return Told::Broken(error.to_string()) };
    let text = |name: &str| status.metadata().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    match status.code() {
        code @ (tonic::Code::ResourceExhausted | tonic::Code::Unavailable) => {
            Told::Refused { code: format!("{code:?}"), advised: text("retry-after").is_some() }
        }
        code => Told::Broken(format!("{code:?} {}", status.message())),
    }
}
