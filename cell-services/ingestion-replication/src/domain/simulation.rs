//! The whole of the sink against a model world, with everything going wrong at random.
//!
//! World: a topic with rows of several streams, one table per stream (rows, progress, version), the
//! group's hint. Two committers read, both at times believing they own the same partitions; each
//! can die at every step, lose the answer of a commit that happened, lose races, lose the hint.
//! Afterwards every row is in its table exactly once.

use std::collections::BTreeMap;

use contracts::{Generation, TenantId};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use uuid::Uuid;

use super::Place;
use super::progress::{Plan, Progress};
use super::round::{Labels, Round, Seen};

const PARTITIONS: i32 = 3;
const STREAMS: u128 = 3;
const SEEDS: u64 = 10_000;
/// A round is committed at the latest when it holds so many rows.
const ROUND_ROWS: usize = 6;

#[derive(Default)]
struct Table {
    rows: Vec<Place>,
    progress: Option<String>,
    version: u64,
}

struct World {
    /// Stream of each offset, by partition.
    topic: BTreeMap<i32, Vec<Uuid>>,
    tables: BTreeMap<Uuid, Table>,
    hint: BTreeMap<i32, i64>,
    epochs: u64,
}

/// One process: what it holds is lost when it dies.
struct Committer {
    round: Round,
    epoch: u64,
    reading: BTreeMap<i32, i64>,
    step: Step,
}

/// Where a committer is; each step is a place to die.
enum Step {
    Reading,
    /// Streams not yet committed in this round, and for the first one the table as it was loaded.
    Committing {
        left: Vec<Uuid>,
        loaded: Option<(u64, Plan)>,
    },
    Hinting,
}

impl Committer {
    /// The group gives it partitions: reading begins at the hint.
    fn joined(world: &mut World, partitions: &[i32]) -> Self {
        world.epochs += 1;
        let reading = partitions.iter().map(|p| (*p, world.hint.get(p).copied().unwrap_or(0))).collect();
        Self { round: Round::default(), epoch: world.epochs, reading, step: Step::Reading }
    }

    fn rebalanced(&mut self, world: &mut World, partitions: &[i32]) {
        let fresh = Committer::joined(world, partitions);
        self.epoch = fresh.epoch;
        self.reading = fresh.reading;
        // In the middle of a commit nothing is known of the rebalance yet: the round goes on.
    }

    fn act(&mut self, world: &mut World, random: &mut StdRng) {
        match std::mem::replace(&mut self.step, Step::Reading) {
            Step::Reading => self.read(world, random),
            Step::Committing { left, loaded } => self.commit(world, random, left, loaded),
            Step::Hinting => {
                // Accepted only while the round's epoch is the member's.
                if self.round.epoch() == self.epoch && random.random_bool(0.8) {
                    for (partition, next) in self.round.hint() {
                        world.hint.insert(*partition, *next);
                    }
                }
                self.round.done();
            }
        }
    }

    fn read(&mut self, world: &World, random: &mut StdRng) {
        for _ in 0..random.random_range(1..4) {
            let open: Vec<i32> =
                self.reading.iter().filter(|(p, at)| **at < world.topic[*p].len() as i64).map(|(p, _)| *p).collect();
            if open.is_empty() {
                break;
            }
            let partition = open[random.random_range(0..open.len())];
            let offset = self.reading[&partition];
            let place = Place { partition, offset };
            if self.round.see(self.epoch, place) == Seen::New {
                let stream = world.topic[&partition][offset as usize];
                let labels = Labels {
                    tenant: TenantId::new("acme").unwrap(),
                    stream,
                    schema_version: 1,
                    generation: Generation(1),
                };
                self.round.take(labels, place, b"{}").unwrap();
            }
            // At times the broker hands the same record out again.
            if random.random_bool(0.95) {
                self.reading.insert(partition, offset + 1);
            }
        }
        if self.round.rows >= ROUND_ROWS || random.random_bool(0.3) {
            let mut left: Vec<Uuid> = self.round.streams.keys().copied().collect();
            left.sort();
            self.step = Step::Committing { left, loaded: None };
        }
    }

    fn commit(&mut self, world: &mut World, random: &mut StdRng, mut left: Vec<Uuid>, loaded: Option<(u64, Plan)>) {
        let Some(stream) = left.first().copied() else {
            self.step = Step::Hinting;
            return;
        };
        let table = world.tables.get_mut(&stream).unwrap();
        let rows = &self.round.streams[&stream];
        let Some((version, plan)) = loaded else {
            let progress = Progress::of_table(table.progress.as_deref(), "topic", "id", None).unwrap();
            let plan = Plan::of(&rows.places, &progress);
            if plan.keep.is_empty() {
                left.remove(0);
                self.step = Step::Committing { left, loaded: None };
            } else {
                self.step = Step::Committing { left, loaded: Some((table.version, plan)) };
            }
            return;
        };
        // assert-ref-snapshot-id: only on the version the plan was made on.
        let won = table.version == version;
        if won {
            table.rows.extend(plan.keep.iter().map(|at| rows.places[*at]));
            table.progress = Some(plan.progress.to_property("topic"));
            table.version += 1;
        }
        let answered = random.random_bool(0.8);
        if won && answered {
            left.remove(0);
        }
        // Lost or unanswered: load the table again and see.
        self.step = Step::Committing { left, loaded: None };
    }
}

fn world(random: &mut StdRng) -> World {
    let mut topic = BTreeMap::new();
    for partition in 0..PARTITIONS {
        let rows = random.random_range(0..20);
        topic.insert(partition, (0..rows).map(|_| Uuid::from_u128(random.random_range(0..STREAMS))).collect());
    }
    let tables = (0..STREAMS).map(|s| (Uuid::from_u128(s), Table::default())).collect();
    World { topic, tables, hint: BTreeMap::new(), epochs: 0 }
}

/// A share of the partitions for each; at times both get the same one.
fn shares(random: &mut StdRng) -> [Vec<i32>; 2] {
    let mut shares = [Vec::new(), Vec::new()];
    for partition in 0..PARTITIONS {
        let owner = random.random_range(0..2);
        shares[owner].push(partition);
        if random.random_bool(0.3) {
            shares[1 - owner].push(partition);
        }
    }
    shares
}

fn simulate(seed: u64) -> World {
    let mut random = StdRng::seed_from_u64(seed);
    let mut world = world(&mut random);
    let [one, two] = shares(&mut random);
    let mut committers = [Committer::joined(&mut world, &one), Committer::joined(&mut world, &two)];
    for _ in 0..200 {
        let at = random.random_range(0..2);
        match random.random_range(0..100) {
            // kill -9, and a new process in its place.
            0..5 => {
                let share = shares(&mut random)[at].clone();
                committers[at] = Committer::joined(&mut world, &share);
            }
            5..10 => {
                let [one, two] = shares(&mut random);
                committers[0].rebalanced(&mut world, &one);
                committers[1].rebalanced(&mut world, &two);
            }
            // The group's offsets expire.
            10 => world.hint.clear(),
            _ => committers[at].act(&mut world, &mut random),
        }
    }
    // Calm: one process owns everything and reads to the end.
    let all: Vec<i32> = (0..PARTITIONS).collect();
    let mut last = Committer::joined(&mut world, &all);
    for _ in 0..2_000 {
        last.act(&mut world, &mut random);
    }
    world
}

#[test]
fn whatever_dies_no_row_is_lost_and_none_is_twice() {
    for seed in 0..SEEDS {
        let world = simulate(seed);
        for (stream, table) in &world.tables {
            let mut expected = Vec::new();
            for (partition, rows) in &world.topic {
                let of_stream = rows.iter().enumerate().filter(|(_, s)| *s == stream);
                expected.extend(of_stream.map(|(offset, _)| Place { partition: *partition, offset: offset as i64 }));
            }
            let mut found = table.rows.clone();
            found.sort();
            assert_eq!(found, expected, "seed {seed}, stream {stream}");
        }
    }
}
