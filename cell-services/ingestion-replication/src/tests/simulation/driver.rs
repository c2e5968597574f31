//! What happens to the world from outside: records arrive, processes die and come back, partitions
//! move, tables are dropped, the network parts.

use std::collections::BTreeMap;
use std::sync::Arc;

use turmoil::Sim;

use super::catalog::{Creation, Key};
use super::fault::Fault;
use super::topic::{Kept, PARTITIONS};
use super::world::{HOSTS, World};
use crate::domain::STREAM_PROPERTY;

/// Records of a run, without the last one of each partition.
const RECORDS: u64 = 30;
/// Everything is produced by then, virtual milliseconds.
const PRODUCED_MS: u64 = 3_800;

pub struct Driver {
    world: Arc<World>,
    produced: u64,
    /// When a host comes back, by name.
    restarts: BTreeMap<&'static str, u64>,
    /// Cut off from the others until then.
    cut: Option<(&'static str, &'static str, u64)>,
    remade: bool,
    dropped: bool,
}

impl Driver {
    pub fn new(world: Arc<World>) -> Self {
        let restarts = BTreeMap::new();
        Self { world, produced: 0, restarts, cut: None, remade: false, dropped: false }
    }

    /// Buries the dead and brings back who is due.
    pub fn keep_alive(&mut self, sim: &mut Sim<'_>) {
        let now = self.world.now_ms();
        for (host, name) in HOSTS.into_iter().enumerate() {
            let doomed = self.world.processes.lock().iter().any(|p| p.host == host && p.alive && p.doomed);
            if doomed {
                sim.crash(name);
            }
            if !sim.is_host_running(name) && !self.restarts.contains_key(name) {
                self.depart(host);
                self.restarts.insert(name, now + self.world.below(900));
            }
        }
        let due: Vec<&str> = self.restarts.iter().filter(|(_, at)| **at <= now).map(|(name, _)| *name).collect();
        for name in due {
            self.restarts.remove(name);
            sim.bounce(name);
        }
    }

    /// The group notices a death at once, or with the next rebalance.
    fn depart(&self, host: usize) {
        let mut processes = self.world.processes.lock();
        let mut topic = self.world.topic.lock();
        for (id, process) in processes.iter_mut().enumerate().filter(|(_, p)| p.host == host && p.alive) {
            (process.alive, process.excused) = (false, true);
            topic.members.remove(&id);
        }
        drop(processes);
        if self.world.chance(0.5) {
            topic.rebalance(false, |end| self.world.below(end));
        }
    }

    /// One tick of trouble.
    pub fn disturb(&mut self, sim: &mut Sim<'_>) {
        self.produce();
        self.part(sim);
        self.move_partitions();
        self.lose_hints();
        self.change_streams();
        self.disturb_tables();
        let failover = if self.world.fault == Fault::Failover { 0.008 } else { 0.0004 };
        if !self.restarts.contains_key("catalog") && self.world.chance(failover) {
            if self.world.fault == Fault::Failover {
                self.world.strike();
            }
            self.world.note("catalog dies");
            sim.crash("catalog");
            self.restarts.insert("catalog", self.world.now_ms() + self.world.below(1_500));
        }
        self.stop_some();
        if self.world.fault == Fault::TopicAnew {
            self.remake_topic(sim);
        }
    }

    fn produce(&mut self) {
        let due = RECORDS * self.world.now_ms() / PRODUCED_MS;
        while self.produced < due.min(RECORDS) {
            self.produced += 1;
            let partition = self.world.below(PARTITIONS as u64) as usize;
            let poison = self.world.chance(0.12).then(|| self.world.below(7));
            self.append(partition, poison);
        }
    }

    fn append(&self, partition: usize, poison: Option<u64>) {
        let streams = self.world.streams.lock();
        let stream = &streams[self.world.below(streams.len() as u64) as usize];
        let mut topic = self.world.topic.lock();
        let row = Kept::row(stream.id, stream.tenant, stream.version, topic.next_id());
        let stranger = if stream.tenant == "acme" { "globex" } else { "acme" };
        topic.partitions[partition].push(match poison {
            Some(way) => row.poisoned(way, stranger),
            None => row,
        });
        let offset = topic.partitions[partition].len() - 1;
        let truth = topic.partitions[partition][offset].truth;
        self.world.note(format_args!("appended {partition}/{offset}: {truth:?} of {}/{}", stream.tenant, stream.name));
    }

    fn part(&mut self, sim: &Sim<'_>) {
        let now = self.world.now_ms();
        if let Some((one, other, until)) = self.cut {
            if until <= now {
                sim.repair(one, other);
                self.cut = None;
            }
        } else if self.world.chance(0.002) {
            let one = HOSTS[self.world.below(2) as usize];
            let other = if self.world.chance(0.8) { "catalog" } else { "streaming" };
            self.world.note(format_args!("{one} is cut off from {other}"));
            sim.partition(one, other);
            self.cut = Some((one, other, now + self.world.below(1_500)));
        }
    }

    fn move_partitions(&self) {
        let (moves, shared) = match self.world.fault {
            Fault::Revoked => (0.04, 0.0),
            Fault::TwoCommitters => (0.02, 0.9),
            _ => (0.003, 0.05),
        };
        if self.world.chance(moves) {
            let shared = self.world.chance(shared);
            if self.world.fault == Fault::Revoked || (self.world.fault == Fault::TwoCommitters && shared) {
                self.world.strike();
            }
            self.world.note(format_args!("rebalance, shared: {shared}"));
            self.world.topic.lock().rebalance(shared, |end| self.world.below(end));
        }
    }

    /// The group's offsets expire, or an older one comes back.
    fn lose_hints(&self) {
        if !self.world.chance(0.003) {
            return;
        }
        let partition = self.world.below(PARTITIONS as u64) as i32;
        let mut topic = self.world.topic.lock();
        if let Some(at) = topic.committed.get(&partition).copied() {
            let older = self.world.below(at.unsigned_abs() + 1) as i64;
            self.world.note(format_args!("hint of {partition} falls from {at} to {older}"));
            topic.committed.insert(partition, older);
        }
    }

    fn change_streams(&self) {
        if self.world.chance(0.003) {
            let mut streams = self.world.streams.lock();
            let at = self.world.below(streams.len() as u64) as usize;
            streams[at].version += 1;
            self.world.note(format_args!("{} has version {}", streams[at].name, streams[at].version));
        }
        if self.world.chance(0.001) {
            let mut tables = self.world.tables.lock();
            *tables.generations.entry("acme".to_owned()).or_insert(1) += 1;
            self.world.note("acme's generation grows");
        }
    }

    /// At most once in a run a table is dropped; at times another stream takes its name.
    fn disturb_tables(&mut self) {
        if self.dropped || !self.world.chance(0.0008) {
            return;
        }
        let mut tables = self.world.tables.lock();
        let names: Vec<Key> = tables.live.keys().cloned().collect();
        if names.is_empty() {
            return;
        }
        self.dropped = true;
        let key = &names[self.world.below(names.len() as u64) as usize];
        let Some(entry) = tables.drop_table(key) else { return };
        self.world.note(format_args!("{}/{} is dropped", key.0, key.1));
        if self.world.chance(0.5) {
            let properties = [(STREAM_PROPERTY.to_owned(), uuid::Uuid::from_u128(7).to_string())].into();
            let schema = entry.metadata.current_schema().as_ref().clone();
            let _ = tables.create(&key.0, Creation { name: key.1.clone(), schema, properties });
            self.world.note("another stream takes its name");
        }
    }

    fn stop_some(&self) {
        if self.world.chance(0.002) {
            let host = self.world.below(2) as usize;
            let processes = self.world.processes.lock();
            if let Some(process) = processes.iter().find(|p| p.host == host && p.alive) {
                process.stop.cancel();
                drop(processes);
                self.world.note(format_args!("{} is told to stop", HOSTS[host]));
            }
        }
    }

    /// Once in a run; some time later the operator gives the old topic up and restarts the sinks.
    fn remake_topic(&mut self, sim: &mut Sim<'_>) {
        let now = self.world.now_ms();
        if !self.remade && now > 900 && self.world.chance(0.03) {
            self.remade = true;
            self.world.strike();
            let mut topic = self.world.topic.lock();
            let id = format!("topic-{:08x}", self.world.below(u64::from(u32::MAX)));
            self.world.note(format_args!("topic {} is made anew as {id}", topic.id));
            topic.remake(id);
        }
        if self.remade && now > 3_000 {
            self.forsake(sim);
        }
    }

    fn forsake(&self, sim: &mut Sim<'_>) {
        let Some(old) = self.world.topic.lock().deleted.first().map(|deleted| deleted.id.clone()) else { return };
        if self.world.forsaken.lock().replace(old).is_none() {
            self.world.note("the operator gives the old topic up");
            HOSTS.into_iter().for_each(|name| sim.crash(name));
        }
    }

    /// Nothing goes wrong from here on.
    pub fn calm_down(&mut self, sim: &mut Sim<'_>) {
        self.forsake(sim);
        self.world.calm_down();
        if let Some((one, other, _)) = self.cut.take() {
            sim.repair(one, other);
        }
        for partition in 0..PARTITIONS as usize {
            self.append(partition, None);
        }
        self.world.topic.lock().rebalance(false, |end| self.world.below(end));
    }
}
