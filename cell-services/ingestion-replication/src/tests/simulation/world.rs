//! What outlives a sink's process: topic, catalog, bucket, letters; and the one source of chance.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use kit::nature::Nature;
use object_store::memory::InMemory;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use time::OffsetDateTime;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::catalog::Tables;
use super::fault::{BACKGROUND, Fault, Odds, Step};
use super::streams::{self, Stream};
use super::topic::Topic;

pub const HOSTS: [&str; 2] = ["sink-a", "sink-b"];
/// Wall clock at the beginning of every run.
const EPOCH_SECONDS: i64 = 1_735_689_600;

tokio::task_local! {
    /// The sink's process that runs now.
    pub static PROCESS: usize;
}

/// One life of a sink.
pub struct Process {
    pub host: usize,
    pub alive: bool,
    /// It reached the point where it dies.
    pub doomed: bool,
    /// It was killed, or something failed on it: it may leave files behind.
    pub excused: bool,
    /// It waits for records, and has nothing else in hand.
    pub idle: bool,
    pub stop: CancellationToken,
    pub skew: time::Duration,
}

/// A dead letter: topic id, partition, offset.
pub type LetterPlace = (String, i32, i64);

/// A failure the world made.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the simulation failed it")]
pub struct Broken;

pub struct World {
    pub fault: Fault,
    random: Mutex<StdRng>,
    history: Mutex<Vec<String>>,
    elapsed_ms: AtomicU64,
    calm: AtomicBool,
    struck: AtomicU64,
    pub topic: Mutex<Topic>,
    pub tables: Mutex<Tables>,
    pub streams: Mutex<Vec<Stream>>,
    pub objects: Arc<InMemory>,
    /// Which process put an object.
    pub puts: Mutex<BTreeMap<String, usize>>,
    pub processes: Mutex<Vec<Process>>,
    pub letters: Mutex<BTreeSet<LetterPlace>>,
    /// Snapshots the sinks told of, by stream.
    pub told: Mutex<BTreeSet<(Uuid, i64)>>,
    /// The operator gave this topic up.
    pub forsaken: Mutex<Option<String>>,
    /// Topics the sinks' journal knows.
    pub topics: Mutex<Vec<String>>,
    /// Streams whose tables their tenant has spoilt: what becomes of their rows is its own doing.
    pub spoilt: Mutex<BTreeSet<Uuid>>,
    /// What was untrue while it ran.
    pub broken: Mutex<Option<String>>,
}

enum Fate {
    Good,
    /// Before the effect or after it.
    Fails {
        before: bool,
    },
    Dies {
        before: bool,
    },
}

impl World {
    pub fn new(fault: Fault, seed: u64) -> Arc<Self> {
        let mut random = StdRng::seed_from_u64(seed ^ ((fault as u64) << 48));
        let streams = streams::of(&mut random);
        let topic = Topic::new(&mut random);
        Arc::new(Self {
            fault,
            random: Mutex::new(random),
            history: Mutex::default(),
            elapsed_ms: AtomicU64::new(0),
            calm: AtomicBool::new(false),
            struck: AtomicU64::new(0),
            topic: Mutex::new(topic),
            tables: Mutex::default(),
            streams: Mutex::new(streams),
            objects: Arc::new(InMemory::new()),
            puts: Mutex::default(),
            processes: Mutex::default(),
            letters: Mutex::default(),
            told: Mutex::default(),
            forsaken: Mutex::default(),
            topics: Mutex::default(),
            spoilt: Mutex::default(),
            broken: Mutex::default(),
        })
    }

    /// Virtual milliseconds since the run began.
    pub fn now_ms(&self) -> u64 {
        let inside = turmoil::sim_elapsed().map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        inside.unwrap_or_else(|| self.elapsed_ms.load(Ordering::Relaxed))
    }

    pub fn set_elapsed(&self, elapsed: Duration) {
        self.elapsed_ms.store(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub fn note(&self, what: impl std::fmt::Display) {
        let who = PROCESS.try_with(|process| format!("process {process}")).unwrap_or_default();
        self.history.lock().push(format!("{:>6} {who:<11} {what}", self.now_ms()));
    }

    pub fn history(&self) -> Vec<String> {
        self.history.lock().clone()
    }

    pub fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    pub fn calm_down(&self) {
        self.calm.store(true, Ordering::Relaxed);
        self.note("--- calm ---");
    }

    /// The fault the run is about happened.
    pub fn strike(&self) {
        self.struck.fetch_add(1, Ordering::Relaxed);
    }

    pub fn struck(&self) -> bool {
        self.struck.load(Ordering::Relaxed) > 0
    }

    pub fn chance(&self, odds: f64) -> bool {
        !self.is_calm() && self.random.lock().random_bool(odds)
    }

    pub fn below(&self, end: u64) -> u64 {
        self.random.lock().random_range(0..end.max(1))
    }

    pub async fn tarry(&self, at_most_ms: u64) {
        let time = Duration::from_millis(self.below(at_most_ms + 1));
        sleep_until(Instant::now() + time).await;
    }

    /// The present process may leave files behind from now on.
    pub fn excuse(&self) {
        if let Ok(process) = PROCESS.try_with(|process| *process) {
            self.processes.lock()[process].excused = true;
        }
    }

    /// The same for every process that is alive.
    pub fn excuse_all(&self) {
        self.processes.lock().iter_mut().filter(|process| process.alive).for_each(|process| process.excused = true);
    }

    fn draw(&self, odds: Odds) -> Fate {
        let mut random = self.random.lock();
        let (roll, before) = (random.random::<f64>(), random.random_bool(0.5));
        if roll < odds.crash {
            Fate::Dies { before }
        } else if roll < odds.crash + odds.fail {
            Fate::Fails { before }
        } else {
            Fate::Good
        }
    }

    fn fate(&self, step: Step) -> Fate {
        if self.is_calm() {
            return Fate::Good;
        }
        match self.draw(self.fault.odds(step)) {
            Fate::Good => self.draw(BACKGROUND),
            fate => {
                self.strike();
                fate
            }
        }
    }

    /// A step of the present process, with its effect; either may be the last thing that happens.
    pub async fn pass<T>(&self, step: Step, what: &str, effect: impl Future<Output = T>) -> Result<T, Broken> {
        if let Ok(process) = PROCESS.try_with(|process| *process) {
            self.processes.lock()[process].idle = step == Step::Read;
        }
        let slow = self.chance(0.02);
        self.tarry(if slow { 900 } else { 4 }).await;
        let fate = self.fate(step);
        match fate {
            Fate::Dies { before: true } => self.die(what, "before").await,
            Fate::Fails { before: true } => return self.fail(what, "undone"),
            _ => {}
        }
        let done = effect.await;
        match fate {
            Fate::Dies { .. } => self.die(what, "after").await,
            Fate::Fails { .. } => return self.fail(what, "done"),
            Fate::Good => self.note(what),
        }
        Ok(done)
    }

    fn fail<T>(&self, what: &str, how: &str) -> Result<T, Broken> {
        self.note(format_args!("{what}: fails, {how}"));
        self.excuse();
        Err(Broken)
    }

    /// The schedule kills the process at the end of this tick; until then it does nothing more.
    async fn die(&self, what: &str, when: &str) {
        self.note(format_args!("dies {when} {what}"));
        self.excuse();
        if let Ok(process) = PROCESS.try_with(|process| *process) {
            self.processes.lock()[process].doomed = true;
        }
        std::future::pending::<()>().await;
    }

    /// Everything is dealt with, and nobody is about to do anything.
    pub fn is_at_rest(&self) -> bool {
        self.topic.lock().is_drained() && self.processes.lock().iter().all(|p| p.idle || !p.alive)
    }

    /// Objects of a bucket without its faults, as those who look from outside see it.
    pub fn bucket(&self) -> lakehouse::Bucket {
        lakehouse::Bucket::over(self.objects.clone(), "warehouse")
    }
}

/// Time and chance of a run.
pub struct Simulated(pub Arc<World>);

impl Simulated {
    pub fn of(world: &Arc<World>) -> Rc<Self> {
        Rc::new(Self(Arc::clone(world)))
    }
}

impl Nature for Simulated {
    fn now(&self) -> OffsetDateTime {
        let skew = PROCESS.try_with(|process| self.0.processes.lock()[*process].skew).unwrap_or_default();
        let epoch = OffsetDateTime::from_unix_timestamp(EPOCH_SECONDS).unwrap();
        epoch + Duration::from_millis(self.0.now_ms()) + skew
    }

    fn random(&self) -> u128 {
        let mut random = self.0.random.lock();
        (u128::from(random.next_u64()) << 64) | u128::from(random.next_u64())
    }
}
