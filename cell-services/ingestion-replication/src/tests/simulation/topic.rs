//! The topic and its consumer group, as a broker keeps them, and a sink's membership in it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use contracts::headers::{GENERATION, RECORD_SCHEMA_VERSION, RECORD_STREAM, RECORD_TENANT};
use event_bus_data::{BusError, Letter, Reason};
use parking_lot::Mutex;
use rand::Rng;
use rand::rngs::StdRng;
use uuid::Uuid;

use super::fault::Step;
use super::world::{Broken, World};
use crate::domain::Place;
use crate::domain::round::{Record, Round};
use crate::ops::log::Log;

pub const PARTITIONS: i32 = 3;
/// Records handed out by one read, at most.
const HANDED: u64 = 6;

/// What a record is in truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truth {
    /// A row of the stream, with its `id`.
    Row {
        stream: Uuid,
        id: i64,
    },
    Poison,
}

pub struct Kept {
    payload: Vec<u8>,
    headers: Vec<(&'static str, Vec<u8>)>,
    pub truth: Truth,
}

/// One life of the topic: what was in it before it was deleted.
pub struct Deleted {
    pub id: String,
    pub partitions: Vec<Vec<Kept>>,
}

pub struct Topic {
    pub id: String,
    pub partitions: Vec<Vec<Kept>>,
    /// The group's hint.
    pub committed: BTreeMap<i32, i64>,
    /// Grows with each rebalance; a member that has not heard of the newest is a zombie.
    generation: u64,
    pub members: BTreeMap<usize, BTreeSet<i32>>,
    pub deleted: Vec<Deleted>,
    next_id: i64,
}

fn empty() -> Vec<Vec<Kept>> {
    (0..PARTITIONS).map(|_| Vec::new()).collect()
}

impl Topic {
    pub fn new(random: &mut StdRng) -> Self {
        Self {
            id: format!("topic-{:08x}", random.random::<u32>()),
            partitions: empty(),
            committed: BTreeMap::new(),
            generation: 0,
            members: BTreeMap::new(),
            deleted: Vec::new(),
            next_id: 0,
        }
    }

    /// Deletes the topic and makes it anew: another id, no records, no committed offsets.
    pub fn remake(&mut self, id: String) {
        let id = std::mem::replace(&mut self.id, id);
        self.deleted.push(Deleted { id, partitions: std::mem::replace(&mut self.partitions, empty()) });
        self.committed.clear();
    }

    pub fn next_id(&mut self) -> i64 {
        self.next_id += 1;
        self.next_id
    }

    /// Gives each partition to one member, or, if `shared`, to all of them.
    pub fn rebalance(&mut self, shared: bool, chance: impl Fn(u64) -> u64) {
        self.generation += 1;
        let members: Vec<usize> = self.members.keys().copied().collect();
        self.members.values_mut().for_each(BTreeSet::clear);
        for partition in 0..PARTITIONS {
            let owner = chance(members.len() as u64) as usize;
            for (at, member) in members.iter().enumerate() {
                if (at == owner || shared)
                    && let Some(partitions) = self.members.get_mut(member)
                {
                    partitions.insert(partition);
                }
            }
        }
    }

    pub fn is_drained(&self) -> bool {
        (0..)
            .zip(&self.partitions)
            .all(|(partition, records)| self.committed.get(&partition).copied().unwrap_or(0) == records.len() as i64)
    }
}

impl Kept {
    pub fn row(stream: Uuid, tenant: &str, version: i32, id: i64) -> Self {
        let mut payload = format!(r#"{{"id":{id},"note":"row {id}""#);
        (2..=version).for_each(|v| payload.push_str(&format!(r#","extra{v}":{}"#, id * i64::from(v))));
        payload.push('}');
        let headers = vec![
            (RECORD_TENANT, tenant.as_bytes().to_vec()),
            (RECORD_STREAM, stream.to_string().into_bytes()),
            (RECORD_SCHEMA_VERSION, version.to_string().into_bytes()),
            (GENERATION, b"1".to_vec()),
        ];
        Self { payload: payload.into_bytes(), headers, truth: Truth::Row { stream, id } }
    }

    /// A row spoilt in one of the ways there are.
    pub fn poisoned(mut self, way: u64, stranger: &str) -> Self {
        self.truth = Truth::Poison;
        let mut header = |name: &str, value: &[u8]| {
            self.headers.iter_mut().filter(|(n, _)| *n == name).for_each(|(_, v)| *v = value.to_vec());
        };
        match way {
            0 => self.headers.clear(),
            1 => self.payload.clear(),
            2 => self.payload = br#"{"id":"no number"}"#.to_vec(),
            3 => self.payload = b"not json".to_vec(),
            4 => header(RECORD_STREAM, Uuid::from_u128(404).to_string().as_bytes()),
            5 => header(RECORD_TENANT, stranger.as_bytes()),
            _ => header(RECORD_SCHEMA_VERSION, b"99"),
        }
        self
    }
}

/// A sink's membership in the group.
pub struct Member {
    world: Arc<World>,
    process: usize,
    state: Mutex<Reading>,
}

#[derive(Default)]
struct Reading {
    generation: u64,
    epoch: u64,
    positions: BTreeMap<i32, i64>,
}

fn broken(_: Broken) -> BusError {
    BusError::Full
}

impl Member {
    pub fn joined(world: &Arc<World>, process: usize) -> Self {
        world.topic.lock().members.insert(process, BTreeSet::new());
        Self { world: Arc::clone(world), process, state: Mutex::default() }
    }

    /// Takes the next record of some partition, hearing of a rebalance first.
    fn next(&self, round: &mut Round) -> bool {
        let (topic, mut state) = (self.world.topic.lock(), self.state.lock());
        let Some(mine) = topic.members.get(&self.process) else { return false };
        if state.generation != topic.generation {
            // One for what is revoked, one for what is assigned.
            (state.generation, state.epoch) = (topic.generation, state.epoch + 2);
            state.positions = mine.iter().map(|p| (*p, topic.committed.get(p).copied().unwrap_or(0))).collect();
            self.world.note(format_args!("reads from {:?}", state.positions));
        }
        let length = |partition: &i32| topic.partitions[*partition as usize].len() as i64;
        // Out of range: the earliest there is.
        state.positions.iter_mut().filter(|(p, at)| **at > length(p)).for_each(|(_, at)| *at = 0);
        let open: Vec<i32> = state.positions.iter().filter(|(p, at)| **at < length(p)).map(|(p, _)| *p).collect();
        if open.is_empty() {
            return false;
        }
        let partition = open[self.world.below(open.len() as u64) as usize];
        let offset = state.positions[&partition];
        let kept = &topic.partitions[partition as usize][offset as usize];
        let record = Record { place: Place { partition, offset }, key: b"key", payload: &kept.payload, made_ms: None };
        round.read(state.epoch, &record, kept.headers.iter().map(|(name, value)| (*name, value.as_slice())));
        // At times the broker hands the same record out again.
        if !self.world.chance(0.03) {
            state.positions.insert(partition, offset + 1);
        }
        true
    }
}

#[async_trait]
impl Log for Member {
    async fn topic_id(&self) -> Result<String, BusError> {
        let asked = async { self.world.topic.lock().id.clone() };
        self.world.pass(Step::TopicId, "asks for the topic's id", asked).await.map_err(broken)
    }

    async fn read(&self, round: &mut Round, _: usize, wait: Duration) -> Result<(), BusError> {
        self.world.pass(Step::Read, "polls", async {}).await.map_err(broken)?;
        let mut records = 0;
        while records < 1 + self.world.below(HANDED) && self.next(round) {
            records += 1;
            if self.world.chance(0.1) {
                self.world.tarry(30).await;
            }
        }
        if records == 0 {
            self.world.tarry(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)).await;
        }
        Ok(())
    }

    fn epoch(&self) -> u64 {
        self.state.lock().epoch
    }

    fn partitions(&self) -> BTreeSet<i32> {
        self.state.lock().positions.keys().copied().collect()
    }

    fn hint(&self, next_offsets: &BTreeMap<i32, i64>) -> Result<(), BusError> {
        let (mut topic, state) = (self.world.topic.lock(), self.state.lock());
        if state.generation != topic.generation || self.world.chance(0.1) {
            self.world.note("hint refused or lost");
            return Err(BusError::Full);
        }
        self.world.note(format_args!("hints {next_offsets:?}"));
        topic.committed.extend(next_offsets);
        Ok(())
    }

    async fn bury(&self, letter: Letter<'_>, reason: Reason<'_>) -> Result<(), BusError> {
        let (partition, offset) = (letter.position.partition, letter.position.offset);
        let sent = async {
            let id = self.world.topic.lock().id.clone();
            self.world.letters.lock().insert((id, partition, offset));
        };
        let what = format!("buries {partition}/{offset} as {}", reason.code);
        self.world.pass(Step::Bury, &what, sent).await.map_err(broken)
    }
}
