//! One run: moves and a seed's faults for a while, then calm until everything has come to rest.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use turmoil::Sim;

use super::world::{CELLS, Fault, PLANES, ROUTERS, World};
use super::{cell, client, plane, router, verdict};

/// Coarse, for a network hop takes at least one; inside a host time is exact.
const TICK: Duration = Duration::from_millis(10);
/// How long things go wrong.
const TROUBLE: Duration = Duration::from_secs(8);
/// In calm everything has come to rest by then, or never does.
const LIMIT: Duration = Duration::from_secs(90);
/// After the last move, for clients to look at what came of it.
const AFTER: Duration = Duration::from_millis(1_500);
const CLIENTS: usize = 2;

pub struct Run {
    pub history: Vec<String>,
    pub verdict: Result<(), String>,
    pub struck: bool,
    pub moves: usize,
    pub requests: usize,
    /// How long each acknowledged request took, virtual milliseconds.
    pub took: Vec<u64>,
}

pub fn run(fault: Fault, seed: u64) -> Run {
    let world = World::new(fault, seed);
    let folder = tempfile::tempdir().expect("a folder");
    let mut sim = turmoil::Builder::new()
        .tick_duration(TICK)
        .min_message_latency(Duration::ZERO)
        .max_message_latency(Duration::from_millis(15))
        .simulation_duration(LIMIT * 2)
        .enable_random_order()
        .rng_seed(seed)
        .build();
    populate(&world, &mut sim, folder.path());
    let verdict = play(&world, &mut sim).and_then(|()| verdict::of(&world));
    drop(sim);
    if let Err(reason) = &verdict {
        world.note(reason);
    }
    let seen = world.seen.lock();
    Run {
        history: world.history(),
        verdict,
        struck: world.struck.load(Ordering::Relaxed),
        moves: world.desk.lock().moves.len(),
        requests: seen.len(),
        took: seen.iter().map(|seen| seen.to - seen.from).collect(),
    }
}

fn populate(world: &Arc<World>, sim: &mut Sim<'_>, folder: &std::path::Path) {
    for name in PLANES {
        let at = Arc::clone(world);
        sim.host(name, move || plane::live(Arc::clone(&at), name));
    }
    for name in CELLS {
        let at = Arc::clone(world);
        sim.host(name, move || cell::live(Arc::clone(&at), name));
    }
    for name in ROUTERS {
        let (at, own) = (Arc::clone(world), folder.join(name));
        sim.host(name, move || router::live(Arc::clone(&at), own.clone()));
    }
    for tenant in world.tenants() {
        for number in 0..CLIENTS {
            sim.client(format!("client-{number}-{tenant}"), client::live(Arc::clone(world), tenant.clone()));
        }
    }
}

fn play(world: &Arc<World>, sim: &mut Sim<'_>) -> Result<(), String> {
    let mut trouble = Trouble { world: Arc::clone(world), back: BTreeMap::new(), held: None };
    let mut rests_since = None;
    while sim.elapsed() < LIMIT {
        world.set_elapsed(sim.elapsed());
        sim.step().map_err(|error| format!("a host broke: {error}"))?;
        trouble.bring_back(sim);
        if sim.elapsed() < TROUBLE {
            trouble.stir(sim);
            continue;
        }
        trouble.end(sim);
        if !world.desk.lock().under_way().is_empty() {
            rests_since = None;
        } else if sim.elapsed() >= *rests_since.get_or_insert(sim.elapsed()) + AFTER {
            return finish(world, sim);
        }
    }
    Err("it did not come to rest".to_owned())
}

/// Clients end with the answer they wait for.
fn finish(world: &World, sim: &mut Sim<'_>) -> Result<(), String> {
    world.over.store(true, Ordering::Relaxed);
    while sim.elapsed() < LIMIT * 2 {
        world.set_elapsed(sim.elapsed());
        if sim.step().map_err(|error| format!("a host broke: {error}"))? {
            return Ok(());
        }
    }
    Err("a client waits for ever".to_owned())
}

/// What is done to the world from outside.
struct Trouble {
    world: Arc<World>,
    /// When a host comes back, in virtual milliseconds.
    back: BTreeMap<&'static str, u64>,
    /// What goes from one to the other is held until then.
    held: Option<(&'static str, &'static str, u64)>,
}

impl Trouble {
    fn stir(&mut self, sim: &mut Sim<'_>) {
        self.order();
        for (fault, names) in [(Fault::Leaders, PLANES), (Fault::Cells, CELLS), (Fault::Routers, ROUTERS)] {
            if self.world.suffers(fault) && self.world.one_in(120) {
                self.kill(sim, self.world.one_of(&names));
            }
        }
        if self.world.suffers(Fault::Feeds) && self.held.is_none() && self.world.one_in(60) {
            let reader = if self.world.one_in(2) { self.world.one_of(&CELLS) } else { self.world.one_of(&ROUTERS) };
            self.hold(sim, self.world.one_of(&PLANES), reader, 1_500);
        }
        // A leader that hears nothing of the world, and so not of its successor.
        if self.world.suffers(Fault::Leaders) && self.held.is_none() && self.world.one_in(120) {
            self.hold(sim, self.world.one_of(&PLANES), self.world.one_of(&CELLS), 2_500);
        }
    }

    /// What operators ask for.
    fn order(&self) {
        let tenants = self.world.tenants();
        let pick = |count: usize| usize::try_from(self.world.below(count as u64)).unwrap_or_default();
        if self.world.one_in(40) {
            let (tenant, target) = (&tenants[pick(tenants.len())], super::world::cell(self.world.one_of(&CELLS)));
            if self.world.desk.lock().begin(tenant, &target) {
                self.world.note(format_args!("{tenant} is to move to {target}"));
            }
        }
        if self.world.one_in(150) {
            let tenant = &tenants[pick(tenants.len())];
            if self.world.desk.lock().cancel(tenant) {
                self.world.note(format_args!("the move of {tenant} is given up"));
            }
        }
    }

    fn kill(&mut self, sim: &mut Sim<'_>, name: &'static str) {
        if self.back.contains_key(name) {
            return;
        }
        self.world.strike();
        self.world.note(format_args!("{name} dies"));
        sim.crash(name);
        self.back.insert(name, self.world.now_ms() + self.world.below(800));
    }

    fn hold(&mut self, sim: &mut Sim<'_>, one: &'static str, other: &'static str, most: u64) {
        self.world.strike();
        self.world.note(format_args!("nothing passes between {one} and {other}"));
        sim.hold(one, other);
        self.held = Some((one, other, self.world.now_ms() + self.world.below(most)));
    }

    fn bring_back(&mut self, sim: &mut Sim<'_>) {
        let now = self.world.now_ms();
        let due: Vec<&str> = self.back.iter().filter(|(_, at)| **at <= now).map(|(name, _)| *name).collect();
        for name in due {
            self.back.remove(name);
            self.world.note(format_args!("{name} is back"));
            sim.bounce(name);
        }
        if let Some((one, other, _)) = self.held.take_if(|(.., until)| *until <= now) {
            self.world.note(format_args!("all passes between {one} and {other}"));
            sim.release(one, other);
        }
    }

    fn end(&mut self, sim: &mut Sim<'_>) {
        self.world.calm.store(true, Ordering::Relaxed);
        self.back.values_mut().for_each(|at| *at = 0);
        if let Some((.., until)) = &mut self.held {
            *until = 0;
        }
        self.bring_back(sim);
    }
}
