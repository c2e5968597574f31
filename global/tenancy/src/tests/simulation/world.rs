//! What outlives every process: the databases, what clients were told, and the one source of chance.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use contracts::{CellId, Generation, TenantId};
use kit::placements::Known;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::time::{Instant, sleep_until};

use super::desk::Desk;

/// What a run is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// What a leader asks of a cell is lost, late or heard twice.
    Requests,
    /// Leaders die, and one that was thought dead goes on beside its successor.
    Leaders,
    /// Cells die, and come back with what they had heard, or without.
    Cells,
    /// Routers and cells hear of changes late.
    Feeds,
    /// Routers die.
    Routers,
    Everything,
}

pub const PLANES: [&str; 2] = ["tenancy-1", "tenancy-2"];
pub const CELLS: [&str; 2] = ["shared-1", "shared-2"];
pub const ROUTERS: [&str; 2] = ["router-1", "router-2"];
const TENANTS: usize = 3;

/// What one cell stores of one tenant.
#[derive(Debug, Clone, Default)]
pub struct Store {
    /// Each write that was stored, as often as it was.
    pub rows: Vec<u64>,
    fence: u64,
    pub promised_to: Option<CellId>,
}

impl Store {
    /// As every transaction begins (`kit::database`); the generation to reach, if it is refused.
    pub fn pass(&mut self, generation: Generation) -> Result<(), Generation> {
        if generation.0 < self.fence {
            return Err(Generation(self.fence));
        }
        self.fence = generation.0;
        Ok(())
    }
}

/// What a client did, and what came of it; times in virtual milliseconds.
#[derive(Debug, Clone)]
pub struct Seen {
    pub tenant: TenantId,
    pub from: u64,
    pub to: u64,
    pub outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Stored(u64),
    /// It was answered that nothing is stored, or nothing was answered.
    NotStored,
    Read(Vec<u64>),
    NotRead,
    /// 503, with a time to retry: it is moving.
    TurnedAway,
}

/// What a cell had heard when it wrote it down: up to which version, and of whom.
pub type Heard = (u64, u64, BTreeMap<TenantId, Known>);

pub struct World {
    pub fault: Fault,
    random: Mutex<StdRng>,
    pub desk: Mutex<Desk>,
    pub stores: Mutex<BTreeMap<(CellId, TenantId), Store>>,
    pub heard: Mutex<BTreeMap<CellId, Heard>>,
    pub seen: Mutex<Vec<Seen>>,
    history: Mutex<Vec<String>>,
    elapsed_ms: AtomicU64,
    ops: AtomicU64,
    pub struck: AtomicBool,
    pub calm: AtomicBool,
    pub over: AtomicBool,
}

/// Passes virtual time.
pub async fn rest(time: Duration) {
    sleep_until(Instant::now() + time).await;
}

pub fn cell(name: &str) -> CellId {
    CellId::new(name).expect("a cell")
}

impl World {
    pub fn new(fault: Fault, seed: u64) -> Arc<Self> {
        let tenants: Vec<TenantId> =
            (0..TENANTS).map(|number| TenantId::new(format!("t{number}")).expect("a tenant")).collect();
        Arc::new(Self {
            fault,
            random: Mutex::new(StdRng::seed_from_u64(seed)),
            desk: Mutex::new(Desk::new(&CELLS.map(cell), &tenants)),
            stores: Mutex::default(),
            heard: Mutex::default(),
            seen: Mutex::default(),
            history: Mutex::default(),
            elapsed_ms: AtomicU64::new(0),
            ops: AtomicU64::new(0),
            struck: AtomicBool::new(false),
            calm: AtomicBool::new(false),
            over: AtomicBool::new(false),
        })
    }

    pub fn tenants(&self) -> Vec<TenantId> {
        self.desk.lock().tenants.keys().cloned().collect()
    }

    pub fn below(&self, bound: u64) -> u64 {
        self.random.lock().random_range(0..bound)
    }

    pub fn one_in(&self, bound: u64) -> bool {
        self.below(bound) == 0
    }

    pub fn one_of(&self, names: &[&'static str]) -> &'static str {
        names[usize::try_from(self.below(names.len() as u64)).unwrap_or_default()]
    }

    /// The run is about the fault, and there is no calm yet.
    pub fn suffers(&self, fault: Fault) -> bool {
        (self.fault == fault || self.fault == Fault::Everything) && !self.calm.load(Ordering::Relaxed)
    }

    pub fn strike(&self) {
        self.struck.store(true, Ordering::Relaxed);
    }

    /// Takes up to `most` milliseconds.
    pub async fn takes(&self, most: u64) {
        rest(Duration::from_millis(self.below(most + 1))).await;
    }

    pub fn set_elapsed(&self, elapsed: Duration) {
        let elapsed = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        self.elapsed_ms.store(elapsed, Ordering::Relaxed);
        self.desk.lock().now_ms = elapsed;
    }

    pub fn now_ms(&self) -> u64 {
        self.elapsed_ms.load(Ordering::Relaxed)
    }

    pub fn next_op(&self) -> u64 {
        self.ops.fetch_add(1, Ordering::Relaxed)
    }

    pub fn store<T>(&self, cell: &CellId, tenant: &TenantId, with: impl FnOnce(&mut Store) -> T) -> T {
        with(self.stores.lock().entry((cell.clone(), tenant.clone())).or_default())
    }

    pub fn note(&self, what: impl std::fmt::Display) {
        self.history.lock().push(format!("{:>6} {what}", self.now_ms()));
    }

    pub fn history(&self) -> Vec<String> {
        self.history.lock().clone()
    }
}
