//! Watching a stream as it goes by.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use contracts::claims::scope::STREAMS_READ;
use contracts::events::STREAMING_RECORD_ACCEPTED;
use contracts::{TenantId, headers};
use event_bus_data::{RecordView, TailReader, TailStart};
use kit::Scope;
use kit::placements::Placements;
use kit::tasks::Policy;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::{App, streams};
use crate::error::Error;

/// Records handed on before the reader waits for the caller. Each may be nearly 1 MB.
const AHEAD: usize = 32;
/// Records looked at in one go; most belong to other streams.
const LOOK: usize = 2_000;
const WAIT: Duration = Duration::from_millis(500);
pub const MAX_LIMIT: u64 = 10_000;

/// One row as it passes.
#[derive(Debug)]
pub struct Passing {
    pub partition: i32,
    pub offset: i64,
    pub timestamp_ms: Option<i64>,
    pub schema_version: i32,
    /// The row's JSON.
    pub value: String,
}

/// Counts open tails: each costs threads and a broker connection.
#[derive(Clone)]
pub struct Tails {
    open: Arc<Mutex<HashMap<TenantId, usize>>>,
    per_tenant: usize,
    in_all: usize,
}

/// One open tail; closing it is dropping it.
struct Seat {
    open: Arc<Mutex<HashMap<TenantId, usize>>>,
    tenant: TenantId,
}

impl Tails {
    pub fn new(per_tenant: usize, in_all: usize) -> Self {
        Self { open: Arc::default(), per_tenant, in_all }
    }

    fn take(&self, tenant: &TenantId) -> Result<Seat, Error> {
        let mut open = self.open.lock();
        let all: usize = open.values().sum();
        let own = open.entry(tenant.clone()).or_default();
        if *own >= self.per_tenant || all >= self.in_all {
            return Err(Error::TooManyTails);
        }
        *own += 1;
        Ok(Seat { open: Arc::clone(&self.open), tenant: tenant.clone() })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self.open.lock();
        if let Some(own) = open.get_mut(&self.tenant) {
            *own -= 1;
            if *own == 0 {
                open.remove(&self.tenant);
            }
        }
    }
}

/// Where a tail begins and after how many rows it ends.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    pub start: TailStart,
    pub limit: Option<u64>,
}

/// Rows of one stream, from now on or from the oldest kept. The channel closes when the window is
/// used up, the receiver is dropped, the tenant leaves the cell or the service stops.
pub async fn open(app: &App, scope: Scope, reference: &str, window: Window) -> Result<mpsc::Receiver<Passing>, Error> {
    scope.require(STREAMS_READ)?;
    if window.limit.is_some_and(|limit| limit == 0 || limit > MAX_LIMIT) {
        return Err(Error::Limit);
    }
    let stream = streams::find(app, &scope, reference).await?;
    let seat = app.tails.take(&scope.tenant)?;
    let reader = app.bus.tail(STREAMING_RECORD_ACCEPTED, window.start).await?;
    let (out, passing) = mpsc::channel(AHEAD);
    let (stopping, placements) = (app.tasks.stopping(), Arc::clone(&app.placements));
    app.tasks.spawn("live tail", Policy::Once, async move {
        let filter = Filter { tenant: scope.tenant, stream: stream.id };
        tokio::select! {
            () = stopping.cancelled() => {}
            result = follow(&reader, &filter, window, &placements, &out) => if let Err(error) = result {
                tracing::warn!(error = %kit::fault::chain(&error), "a live tail ended");
            },
        }
        drop(seat);
        Ok(())
    });
    Ok(passing)
}

struct Filter {
    tenant: TenantId,
    stream: Uuid,
}

impl Filter {
    /// Tenant and stream both: a stream's id alone would do, and a mistake here would show one
    /// tenant's rows to another.
    fn pass(&self, record: &RecordView<'_>) -> Option<Passing> {
        let (mut tenant, mut stream, mut schema_version) = (None, None, None);
        for (name, value) in record.headers() {
            match name {
                headers::RECORD_TENANT => tenant = Some(value),
                headers::RECORD_STREAM => stream = Some(value),
                headers::RECORD_SCHEMA_VERSION => schema_version = std::str::from_utf8(value).ok()?.parse().ok(),
                _ => {}
            }
        }
        let ours = tenant? == self.tenant.as_str().as_bytes() && stream? == self.stream.to_string().as_bytes();
        let position = record.position();
        ours.then_some(Passing {
            partition: position.partition,
            offset: position.offset,
            timestamp_ms: record.timestamp_ms(),
            schema_version: schema_version?,
            value: String::from_utf8(record.payload().to_vec()).ok()?,
        })
    }
}

async fn follow(
    reader: &TailReader,
    filter: &Filter,
    window: Window,
    placements: &Placements,
    out: &mpsc::Sender<Passing>,
) -> Result<(), Error> {
    let mut left = window.limit.unwrap_or(u64::MAX);
    // A bounded look at the past ends where the topic ended when it began.
    let ends_with_topic = window.start == TailStart::Earliest && window.limit.is_some();
    let mut ahead: HashMap<i32, i64> =
        reader.ranges().iter().filter(|(_, from, to)| from < to).map(|(partition, _, to)| (*partition, *to)).collect();
    // Its client comes back, and is led to where the rows are then.
    while left > 0 && !(ends_with_topic && ahead.is_empty()) && !placements.has_left(&filter.tenant) {
        let mut found = Vec::new();
        let look = reader.drain(LOOK, WAIT, |record| {
            let position = record.position();
            if ahead.get(&position.partition).is_some_and(|end| position.offset + 1 >= *end) {
                ahead.remove(&position.partition);
            }
            found.extend(filter.pass(&record));
        });
        tokio::select! {
            () = out.closed() => return Ok(()),
            looked = look => looked?,
        };
        for passing in found {
            if left == 0 || out.send(passing).await.is_err() {
                return Ok(());
            }
            left -= 1;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_tenants_tails_leave_room_for_anothers() {
        let tails = Tails::new(2, 3);
        let (acme, globex) = (TenantId::new("acme").unwrap(), TenantId::new("globex").unwrap());
        let seats = [tails.take(&acme).unwrap(), tails.take(&acme).unwrap()];
        assert!(tails.take(&acme).is_err());
        let theirs = tails.take(&globex).unwrap();
        assert!(tails.take(&globex).is_err());
        drop(seats);
        assert!(tails.take(&globex).is_ok());
        drop(theirs);
        assert!(tails.open.lock().is_empty());
    }
}
