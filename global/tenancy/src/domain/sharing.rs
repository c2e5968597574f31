//! Who may use how much of a tenant's limit (docs/adr/0019-routers-share-a-limit.md). Pure: the time is the caller's.
//!
//! Invariant: of any tenant, the shares that routers hold come to add up to no more than the whole, and then stay so. A
//! router that is new to the others brings more with it, until each has reported once.

use std::collections::HashMap;
use std::time::Duration;

use contracts::shares::{Load, MOST_USES, Report, Share, Shares, Use, WHOLE};
use contracts::{CellId, TenantId};
use uuid::Uuid;

/// A router that says nothing for so long is gone, and a tenant that presses nowhere for so long is divided evenly.
pub const LEASE: Duration = Duration::from_secs(10);
/// The part that is divided evenly however hard a tenant presses, so that it may begin at any router.
const EVEN: u32 = WHOLE / 10;
pub const MOST_ROUTERS: usize = 1_000;

/// What is known of the routers of one term of office.
#[derive(Debug)]
pub struct Sharing {
    term: i64,
    begun: Duration,
    routers: HashMap<Uuid, Router>,
    tenants: HashMap<TenantId, Pressed>,
}

#[derive(Debug)]
struct Router {
    heard: Duration,
    /// What it may be using of each tenant that is not pressed.
    rest: u32,
    /// What it brings to cells.
    loads: Vec<Load>,
}

#[derive(Debug, Default)]
struct Pressed {
    /// When it last pressed anywhere.
    at: Duration,
    by_router: HashMap<Uuid, Holding>,
}

#[derive(Debug, Clone, Copy)]
struct Holding {
    /// What the router may be using.
    share: u32,
    pressure: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManyRouters;

impl Sharing {
    pub fn new(term: i64, now: Duration) -> Self {
        Self { term, begun: now, routers: HashMap::new(), tenants: HashMap::new() }
    }

    pub fn is_of(&self, term: i64) -> bool {
        self.term == term
    }

    /// Takes a router's report and answers what it may use from now on.
    pub fn report(&mut self, report: &Report, now: Duration) -> Result<Shares, TooManyRouters> {
        self.forget_the_gone(now);
        if self.routers.len() >= MOST_ROUTERS && !self.routers.contains_key(&report.router) {
            return Err(TooManyRouters);
        }
        self.note(report, now);
        if now < self.begun + LEASE {
            return Ok(confirmed(report));
        }
        Ok(self.divide(report.router, now))
    }

    /// What all routers together bring to a cell, requests a second.
    pub fn load_of(&self, cell: &CellId, now: Duration) -> u64 {
        let heard = self.routers.values().filter(|router| now < router.heard + LEASE);
        let loads = heard.flat_map(|router| &router.loads).filter(|load| load.cell == *cell);
        loads.map(|load| u64::from(load.requests_per_second)).sum()
    }

    fn forget_the_gone(&mut self, now: Duration) {
        let had = self.routers.len();
        self.routers.retain(|_, router| now < router.heard + LEASE);
        if self.routers.len() < had {
            for pressed in self.tenants.values_mut() {
                pressed.by_router.retain(|router, _| self.routers.contains_key(router));
            }
        }
    }

    /// What the router says takes the place of everything that was known of it.
    fn note(&mut self, report: &Report, now: Duration) {
        let loads = report.loads.clone();
        self.routers.insert(report.router, Router { heard: now, rest: report.rest, loads });
        for pressed in self.tenants.values_mut() {
            pressed.by_router.insert(report.router, Holding { share: report.rest, pressure: 0 });
        }
        let is_full = self.tenants.len() >= MOST_USES;
        for Use { tenant, share, pressure } in &report.uses {
            // A share of its own is noted in any case: it is counted against the others'.
            if is_full && *share == report.rest && !self.tenants.contains_key(tenant) {
                continue;
            }
            let pressed = self.tenants.entry(tenant.clone()).or_default();
            pressed.by_router.insert(report.router, Holding { share: *share, pressure: *pressure });
            if *pressure > 0 {
                pressed.at = now;
            }
        }
    }

    fn divide(&mut self, router: Uuid, now: Duration) -> Shares {
        let number = u32::try_from(self.routers.len()).unwrap_or(u32::MAX).max(1);
        let (even, least) = (WHOLE / number, EVEN / number);
        let of_others = self.routers.iter().filter(|(id, _)| **id != router).map(|(_, other)| other.rest);
        let held = self.routers.get(&router).map_or(0, |own| own.rest);
        let rest = granted(even, held, of_others, least);
        let mut shares = Vec::new();
        let routers = &self.routers;
        self.tenants.retain(|tenant, pressed| {
            let share = pressed.grant(router, routers, least);
            // Held by all evenly and pressed by nobody: it needs no book any more.
            let is_over = now >= pressed.at + LEASE && pressed.is_even(routers, rest) && share == rest;
            if !is_over {
                shares.push(Share { tenant: tenant.clone(), share });
            }
            !is_over
        });
        if let Some(own) = self.routers.get_mut(&router) {
            own.rest = own.rest.max(rest);
        }
        Shares { rest, shares }
    }
}

impl Pressed {
    /// Notes and answers the router's share.
    fn grant(&mut self, router: Uuid, routers: &HashMap<Uuid, Router>, least: u32) -> u32 {
        let pressure = |id: &Uuid| self.by_router.get(id).map_or(0, |holding| holding.pressure);
        let all: u64 = routers.keys().map(|id| u64::from(pressure(id))).sum();
        let target = target(pressure(&router), all, routers.len(), least);
        let of_others = routers.iter().filter(|(id, _)| **id != router);
        let of_others = of_others.map(|(id, other)| self.by_router.get(id).map_or(other.rest, |holding| holding.share));
        let held = self.by_router.get(&router).map_or(0, |own| own.share);
        let share = granted(target, held, of_others, least);
        if let Some(own) = self.by_router.get_mut(&router) {
            own.share = own.share.max(share);
        }
        share
    }

    fn is_even(&self, routers: &HashMap<Uuid, Router>, rest: u32) -> bool {
        let is_rest = |id: &Uuid| self.by_router.get(id).is_none_or(|holding| holding.share == rest);
        routers.iter().all(|(id, router)| router.rest == rest && is_rest(id))
    }
}

/// What a router should have that is pressed by `own` of `all`: what is asked of it and an even part of what nobody
/// asks for, or by how hard it is pressed if that is too much together. Rounded down, so that all are no more than the whole.
fn target(own: u32, all: u64, routers: usize, least: u32) -> u32 {
    let divided = u64::from(WHOLE - EVEN);
    let target = match u64::from(WHOLE).checked_sub(all) {
        Some(idle) if all <= divided => u64::from(own) + idle / routers.max(1) as u64,
        _ => u64::from(least) + divided * u64::from(own) / all.max(1),
    };
    u32::try_from(target).unwrap_or(WHOLE)
}

/// What a router that holds `held` may have of what it should have. It gives away what is too much; it gets no more
/// than there is room for beside the others, and keeps what it has: all of them together should have the whole, so
/// nobody has to have less for another's sake.
fn granted(target: u32, held: u32, of_others: impl Iterator<Item = u32>, least: u32) -> u32 {
    if held >= target {
        return target;
    }
    let taken: u64 = of_others.map(u64::from).sum();
    let room = u64::from(WHOLE).saturating_sub(taken);
    target.min(u32::try_from(room).unwrap_or(WHOLE)).max(held).max(least)
}

/// The answer of one who does not know yet who else there is.
fn confirmed(report: &Report) -> Shares {
    let shares = report.uses.iter().filter(|held| held.share != report.rest);
    let shares = shares.map(|held| Share { tenant: held.tenant.clone(), share: held.share });
    Shares { rest: report.rest, shares: shares.collect() }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    fn tenant(number: usize) -> TenantId {
        TenantId::new(format!("t-{number}")).unwrap()
    }

    const BEAT: Duration = Duration::from_secs(1);

    /// A router as it is: it uses what it was told last, and says so.
    struct Peer {
        id: Uuid,
        held: Shares,
    }

    impl Peer {
        fn new() -> Self {
            Self { id: Uuid::new_v4(), held: Shares { rest: WHOLE, shares: Vec::new() } }
        }

        fn of(&self, tenant: &TenantId) -> u32 {
            self.held.shares.iter().find(|share| share.tenant == *tenant).map_or(self.held.rest, |share| share.share)
        }

        fn report(&self, pressures: &[u32]) -> Report {
            let uses = pressures.iter().enumerate().map(|(number, pressure)| {
                let tenant = tenant(number);
                Use { share: self.of(&tenant), tenant, pressure: *pressure }
            });
            let is_told = |of: &Use| of.pressure > 0 || self.held.shares.iter().any(|share| share.tenant == of.tenant);
            Report { router: self.id, rest: self.held.rest, uses: uses.filter(is_told).collect(), loads: Vec::new() }
        }

        fn ask(&mut self, sharing: &mut Sharing, pressures: &[u32], now: Duration) {
            self.held = sharing.report(&self.report(pressures), now).unwrap();
        }
    }

    /// Routers that have reported in turn for so many beats.
    fn beats(sharing: &mut Sharing, peers: &mut [Peer], pressures: &[&[u32]], from: u32, beats: u32) -> u32 {
        for beat in from..from + beats {
            for (peer, pressures) in peers.iter_mut().zip(pressures) {
                peer.ask(sharing, pressures, BEAT * beat);
            }
        }
        from + beats
    }

    fn shares(peers: &[Peer], number: usize) -> Vec<u32> {
        peers.iter().map(|peer| peer.of(&tenant(number))).collect()
    }

    #[test]
    fn a_cells_load_is_what_all_routers_that_are_there_bring_it() {
        let (mut sharing, cell) = (Sharing::new(1, Duration::ZERO), CellId::new("shared-1").unwrap());
        for (second, requests_per_second) in [(0, 40), (8, 2)] {
            let loads = vec![Load { cell: cell.clone(), requests_per_second }];
            let report = Report { loads, ..Peer::new().report(&[]) };
            sharing.report(&report, BEAT * second).unwrap();
        }
        assert_eq!([8, 11, 19].map(|second| sharing.load_of(&cell, BEAT * second)), [42, 2, 0]);
        assert_eq!(sharing.load_of(&CellId::new("shared-2").unwrap(), BEAT * 8), 0);
    }

    #[test]
    fn one_router_has_the_whole() {
        let (mut sharing, mut peers) = (Sharing::new(1, Duration::ZERO), [Peer::new()]);
        beats(&mut sharing, &mut peers, &[&[3 * WHOLE]], 0, 20);
        assert_eq!(shares(&peers, 0), [WHOLE]);
        assert_eq!(peers[0].held.rest, WHOLE);
    }

    #[test]
    fn shares_follow_the_pressure_and_become_even_again() {
        let mut sharing = Sharing::new(1, Duration::ZERO);
        let mut peers = [Peer::new(), Peer::new()];
        let idle: &[u32] = &[0, 0];
        let now = beats(&mut sharing, &mut peers, &[idle, idle], 0, 13);
        assert_eq!((shares(&peers, 0), shares(&peers, 1)), (vec![WHOLE / 2; 2], vec![WHOLE / 2; 2]));
        // A hundred times what it may, at one router; another tenant is not touched.
        let now = beats(&mut sharing, &mut peers, &[&[100 * WHOLE, 0], idle], now, 3);
        assert_eq!(shares(&peers, 0), [950_000, 50_000]);
        assert_eq!(shares(&peers, 1), vec![WHOLE / 2; 2]);
        // Less than the whole altogether: each has what is asked of it, and half of the rest.
        let now = beats(&mut sharing, &mut peers, &[&[300_000, 0], &[100_000, 0]], now, 3);
        assert_eq!(shares(&peers, 0), [600_000, 400_000]);
        let now = beats(&mut sharing, &mut peers, &[idle, idle], now, 12);
        assert_eq!(shares(&peers, 0), vec![WHOLE / 2; 2]);
        assert!(peers.iter().all(|peer| peer.held.shares.is_empty()));
        // One is gone.
        beats(&mut sharing, &mut peers[..1], &[idle], now + 9, 3);
        assert_eq!(peers[0].held.rest, WHOLE);
    }

    #[test]
    fn a_new_writer_listens_before_it_divides() {
        let mut sharing = Sharing::new(1, Duration::ZERO);
        let mut peers = [Peer::new(), Peer::new(), Peer::new()];
        let pressed: [&[u32]; 3] = [&[WHOLE, 0], &[0, WHOLE / 2], &[0, 0]];
        let now = beats(&mut sharing, &mut peers, &pressed, 0, 20);
        let before = (shares(&peers, 0), shares(&peers, 1));
        let mut sharing = Sharing::new(2, BEAT * now);
        let now = beats(&mut sharing, &mut peers, &pressed, now, 10);
        assert_eq!((shares(&peers, 0), shares(&peers, 1)), before);
        beats(&mut sharing, &mut peers, &[&[0, 0], &[0, WHOLE], &[WHOLE, 0]], now, 3);
        assert!(shares(&peers, 0)[2] > 900_000 && shares(&peers, 1)[1] > 900_000);
    }

    /// It begins with the whole until it is told otherwise. The others do not have less for it.
    #[test]
    fn a_router_that_begins_again_takes_nothing_from_the_others() {
        let mut sharing = Sharing::new(1, Duration::ZERO);
        let mut peers = [Peer::new(), Peer::new()];
        let pressed: [&[u32]; 2] = [&[0, WHOLE / 4], &[0, 0]];
        let now = beats(&mut sharing, &mut peers, &pressed, 0, 20);
        let before = (shares(&peers, 0), shares(&peers, 1));
        peers[1].held = Shares { rest: WHOLE, shares: Vec::new() };
        for beat in now..now + 3 {
            beats(&mut sharing, &mut peers, &pressed, beat, 1);
            assert_eq!((peers[0].of(&tenant(0)), peers[0].of(&tenant(1))), (before.0[0], before.1[0]));
        }
        assert_eq!((shares(&peers, 0), shares(&peers, 1)), before);
    }

    /// Nor when a writer is new to all of them, and each has the whole.
    #[test]
    fn routers_that_each_have_the_whole_come_to_their_parts_at_once() {
        let mut sharing = Sharing::new(1, Duration::ZERO);
        let mut peers = [Peer::new(), Peer::new(), Peer::new()];
        let idle: &[u32] = &[];
        let now = beats(&mut sharing, &mut peers, &[idle; 3], 0, 10);
        beats(&mut sharing, &mut peers, &[idle; 3], now, 1);
        assert_eq!(shares(&peers, 0), [WHOLE / 3; 3]);
    }

    /// Whatever comes: together they never use more than the whole, but for the least share of each newcomer.
    #[test]
    fn never_more_than_the_whole() {
        for seed in 0..500 {
            let mut random = StdRng::seed_from_u64(seed);
            let (mut sharing, mut peers) = (Sharing::new(1, Duration::ZERO), vec![Peer::new()]);
            let mut now = LEASE;
            peers[0].ask(&mut sharing, &[0; 3], now);
            for step in 0..200 {
                now += Duration::from_millis(random.random_range(0..400));
                if peers.len() < 4 && random.random_ratio(1, 50) {
                    peers.push(Peer { held: Shares { rest: 0, shares: Vec::new() }, ..Peer::new() });
                }
                let peer = random.random_range(0..peers.len());
                let pressures: Vec<u32> = (0..3).map(|_| random.random_range(0..3) * WHOLE / 2).collect();
                let report = peers[peer].report(&pressures);
                let told = sharing.report(&report, now).unwrap();
                // One that is not heard for a lease holds more than it may: said in the decision.
                let is_heard = sharing.routers.len() == peers.len();
                if random.random_ratio(4, 5) {
                    peers[peer].held = told;
                }
                for number in 0..3 {
                    let all: u64 = shares(&peers, number).iter().map(|share| u64::from(*share)).sum();
                    let newcomers = u64::from(EVEN) * (peers.len() as u64 - 1);
                    let most = u64::from(WHOLE) + if is_heard { newcomers } else { u64::from(WHOLE) * 4 };
                    assert!(all <= most, "seed {seed}, step {step}: {all} of {most}");
                }
            }
        }
    }
}
