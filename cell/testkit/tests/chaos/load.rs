//! Rows that come in and statements that run, and what each was answered.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use testkit::Tenant;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::rows;

/// Rows of one push.
const BATCH: u64 = 40;
/// Between two calls of one client.
const PACE: Duration = Duration::from_millis(60);

/// Everything that was answered so far.
#[derive(Debug, Default, Clone)]
pub struct Record {
    /// Rows that were accepted: they must be there once.
    pub accepted: BTreeSet<i64>,
    /// Rows whose fate their sender was not told: there at most once.
    pub doubtful: BTreeSet<i64>,
    pub calls: u64,
    /// What failed calls were told, one line each.
    pub failures: Vec<String>,
    pub slowest: Duration,
}

/// A tenant at work on one stream.
pub struct Load {
    pub tenant: Tenant,
    pub stream: String,
    pub table: String,
    pub record: Arc<Mutex<Record>>,
    stop: CancellationToken,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    pub async fn start(tenant: &Tenant) -> anyhow::Result<Self> {
        let name = format!("rows_{}", &uuid::Uuid::new_v4().simple().to_string()[..8]);
        let stream = rows::stream(tenant, &name).await?;
        // Its table exists before anything breaks.
        rows::push_all(tenant, &stream, 0, BATCH).await?;
        rows::committed(tenant, &stream, BATCH).await?;
        let record = Arc::new(Mutex::new(Record { accepted: (0..BATCH as i64).collect(), ..Record::default() }));
        let mut load = Self {
            tenant: tenant.clone(),
            stream,
            table: format!("streams.{name}"),
            record,
            stop: CancellationToken::new(),
            clients: Vec::new(),
        };
        load.clients = vec![tokio::spawn(load.pusher()), tokio::spawn(load.asker())];
        Ok(load)
    }

    fn pusher(&self) -> impl Future<Output = ()> + use<> {
        let (tenant, stream, record, stop) =
            (self.tenant.clone(), self.stream.clone(), Arc::clone(&self.record), self.stop.clone());
        async move {
            let (mut beat, mut from) = (tokio::time::interval(PACE), BATCH);
            while !stop.is_cancelled() {
                beat.tick().await;
                let (begun, ids) = (Instant::now(), from.cast_signed()..(from + BATCH).cast_signed());
                let told = rows::push(&tenant, &stream, rows::ndjson(from, from + BATCH)).await;
                let told = told.and_then(|answer| clear(&answer).map(|()| answer));
                let mut record = record.lock();
                match told {
                    Ok(answer) if answer.status.is_success() => record.accepted.extend(ids),
                    // A refusal in time says that nothing was taken; a 5xx does not.
                    Ok(answer) if answer.status.is_client_error() => record.failures.push(word("push", &answer.text)),
                    Ok(answer) => {
                        record.doubtful.extend(ids);
                        record.failures.push(word("push", &answer.text));
                    }
                    Err(error) => {
                        record.doubtful.extend(ids);
                        record.failures.push(word("push, no clear answer", &format!("{error:#}")));
                    }
                }
                record.ended(begun);
                from += BATCH;
            }
        }
    }

    fn asker(&self) -> impl Future<Output = ()> + use<> {
        let (tenant, table, record, stop) =
            (self.tenant.clone(), self.table.clone(), Arc::clone(&self.record), self.stop.clone());
        async move {
            let mut beat = tokio::time::interval(PACE);
            while !stop.is_cancelled() {
                beat.tick().await;
                let begun = Instant::now();
                let outcome = rows::count(&tenant, &table).await;
                let mut record = record.lock();
                if let Err(error) = outcome {
                    record.failures.push(word("statement", &format!("{error:#}")));
                }
                record.ended(begun);
            }
        }
    }

    /// Calls that have ended so far.
    pub fn calls(&self) -> u64 {
        self.record.lock().calls
    }

    /// Lets the calls under way end, and begins no more.
    pub async fn stop(self) -> anyhow::Result<(Tenant, String, String, Record)> {
        self.stop.cancel();
        for client in self.clients {
            client.await?;
        }
        let record = self.record.lock().clone();
        Ok((self.tenant, self.stream, self.table, record))
    }
}

impl Record {
    fn ended(&mut self, begun: Instant) {
        self.calls += 1;
        self.slowest = self.slowest.max(begun.elapsed());
    }
}

/// A failure is a problem document with a code, and 503 and 429 say when to try again.
fn clear(answer: &testkit::Answer) -> anyhow::Result<()> {
    if answer.status.is_success() {
        return Ok(());
    }
    answer.refused(&[answer.status.as_u16()])?;
    if matches!(answer.status.as_u16(), 429 | 503) {
        anyhow::ensure!(answer.headers.contains_key("retry-after"), "{} without retry-after", answer.text);
    }
    Ok(())
}

fn word(what: &str, told: &str) -> String {
    format!("{what}: {}", told.chars().take(200).collect::<String>())
}
