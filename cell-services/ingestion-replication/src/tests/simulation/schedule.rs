//! One run: a seed's faults for a while, then calm until everything is dealt with.

use std::sync::Arc;
use std::time::Duration;

use contracts::CellId;
use kit::nature;
use kit::placements::Placements;
use lakehouse::{Bucket, Catalog};
use tokio_util::sync::CancellationToken;
use turmoil::Sim;

use super::bucket::Faulty;
use super::driver::Driver;
use super::fault::Fault;
use super::journal::Diary;
use super::leaver;
use super::network::Wire;
use super::topic::Member;
use super::verdict;
use super::world::{HOSTS, PROCESS, Process, Simulated, World};
use super::{catalog_server, streams};
use crate::config::Settings;
use crate::ops::definitions::Definitions;
use crate::ops::tables::Tables;
use crate::ops::wanted::wishes;
use crate::ops::{Counters, Generations, Sink, run as sink};

/// Coarse, for a network hop takes at least one; inside a host time is exact.
const TICK: Duration = Duration::from_millis(20);
/// How long things go wrong.
const CHAOS: Duration = Duration::from_millis(4_500);
/// In calm everything is dealt with by then, or never.
const LIMIT: Duration = Duration::from_secs(120);

pub struct Run {
    pub history: Vec<String>,
    /// The fault the run is about happened in it.
    pub struck: bool,
    pub verdict: Result<(), String>,
}

pub fn run(fault: Fault, seed: u64) -> Run {
    let world = World::new(fault, seed);
    let _nature = nature::replace(Simulated::of(&world));
    let mut sim = turmoil::Builder::new()
        .tick_duration(TICK)
        .min_message_latency(Duration::ZERO)
        .max_message_latency(Duration::from_millis(30))
        .enable_random_order()
        .rng_seed(seed)
        .build();
    let verdict = play(&world, &mut sim).and_then(|()| verdict::of(&world));
    drop(sim);
    if let Err(reason) = &verdict {
        world.note(reason);
    }
    Run { history: world.history(), struck: world.struck(), verdict }
}

fn play(world: &Arc<World>, sim: &mut Sim<'_>) -> Result<(), String> {
    let at = Arc::clone(world);
    sim.host("catalog", move || catalog_server::serve(Arc::clone(&at)));
    let at = Arc::clone(world);
    sim.host("streaming", move || streams::serve(Arc::clone(&at)));
    for (host, name) in HOSTS.into_iter().enumerate() {
        let at = Arc::clone(world);
        sim.host(name, move || live(Arc::clone(&at), host));
    }
    let mut driver = Driver::new(Arc::clone(world));
    while sim.elapsed() < LIMIT {
        world.set_elapsed(sim.elapsed());
        sim.step().map_err(|error| format!("a host broke: {error}"))?;
        driver.keep_alive(sim);
        if sim.elapsed() < CHAOS {
            driver.disturb(sim);
        } else if !world.is_calm() {
            driver.calm_down(sim);
        } else if world.is_at_rest() {
            return Ok(());
        }
    }
    Err(format!("stuck: the group is at {:?}", world.topic.lock().committed))
}

/// A sink's process, from its start to its end.
async fn live(world: Arc<World>, host: usize) -> turmoil::Result {
    let (process, stop) = begin(&world, host);
    let life = PROCESS.scope(process, async {
        world.note(format_args!("{} starts", HOSTS[host]));
        let (ask, wishes) = wishes();
        let leaver = leaver::wait_again_and_again(Arc::clone(&world), ask);
        let sink = sink::run(Arc::new(assemble(&world, process)), wishes, stop);
        let (ended, ()) = tokio::join!(sink, leaver);
        world.note(format_args!("ends: {}", ended.map_or_else(|e| e.to_string(), |()| "stopped".to_owned())));
    });
    life.await;
    Ok(())
}

fn begin(world: &World, host: usize) -> (usize, CancellationToken) {
    let stop = CancellationToken::new();
    let hours = if world.fault == Fault::ClockSkew { world.below(120) as i64 - 60 } else { 0 };
    if hours != 0 {
        world.strike();
    }
    let mut processes = world.processes.lock();
    processes.push(Process {
        host,
        alive: true,
        doomed: false,
        excused: false,
        idle: false,
        stop: stop.clone(),
        skew: time::Duration::minutes(hours),
    });
    (processes.len() - 1, stop)
}

fn assemble(world: &Arc<World>, process: usize) -> Sink {
    let wire = |host| Arc::new(Wire { world: Arc::clone(world), host });
    let member = Member::joined(world, process);
    world.topic.lock().rebalance(false, |end| world.below(end));
    Sink {
        log: Box::new(member),
        catalog: Catalog::over(wire("catalog")),
        bucket: Bucket::over(Arc::new(Faulty(Arc::clone(world))), "warehouse"),
        definitions: Definitions::new(wire("streaming")),
        journal: Box::new(Diary(Arc::clone(world))),
        tables: Tables::default(),
        generations: Generations::new(Placements::new(CellId::new("here").unwrap())),
        settings: Settings {
            commit_millis: 400,
            commit_rows: 12,
            forsaken_topic_id: world.forsaken.lock().clone(),
            ..Settings::default()
        },
        counters: Counters {
            rows: Box::new(|_| ()),
            dead_letters: Box::new(|_| ()),
            commit_seconds: Box::new(|_| ()),
            freshness: Box::new(|_| ()),
        },
        tracer: trace::Tracer::off(),
    }
}
