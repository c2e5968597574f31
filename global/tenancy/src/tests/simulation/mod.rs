//! Moves and the routing log in a simulated world: the whole way of a request, from a client to its rows.
//!
//! Real: the leader of moves with its steps, the router's follower, seals, table and waits, the cells' view of their
//! placements. Simulated: tenancy's and the cells' databases, the network, time and chance. A seed decides everything:
//! which request is lost, late or heard twice, who dies when, who leads beside whom. After a while of trouble comes calm,
//! and then every acknowledged write is there once, in the tenant's cell only, and no read missed one ([`verdict`]).
//!
//! `CYTO_SEEDS=1000` widens a run (`make sim`), `CYTO_SEED=4711` plays one seed and prints its history.

mod cell;
mod client;
mod desk;
mod plane;
mod router;
mod schedule;
mod verdict;
mod wire;
mod world;

use world::Fault;

/// Of each fault: 240 in each run of all tests.
const SEEDS: u64 = 40;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

fn is_survived(fault: Fault) {
    if let Some(seed) = number("CYTO_SEED") {
        let run = schedule::run(fault, seed);
        println!("{}", run.history.join("\n"));
        return assert_eq!(run.verdict, Ok(()));
    }
    let seeds = number("CYTO_SEEDS").unwrap_or(SEEDS);
    let (mut struck, mut moves, mut requests, mut took) = (0, 0, 0, Vec::new());
    for seed in 0..seeds {
        let run = schedule::run(fault, seed);
        assert_eq!(run.verdict, Ok(()), "{fault:?}, seed {seed}:\n{}", run.history.join("\n"));
        (struck, moves, requests) = (struck + u64::from(run.struck), moves + run.moves, requests + run.requests);
        took.extend(run.took);
    }
    took.sort_unstable();
    let p99 = took[took.len() * 99 / 100];
    println!("    {fault:?}: {seeds} seeds, {moves} moves, {requests} requests, p99 {p99} ms");
    assert!(struck * 4 >= seeds * 3, "{fault:?} happened in {struck} of {seeds} seeds only");
    assert!(moves as u64 > seeds, "{moves} moves in {seeds} seeds");
}

#[test]
fn requests_of_leaders_that_are_lost_late_or_heard_twice() {
    is_survived(Fault::Requests);
}

#[test]
fn leaders_that_die_or_lead_beside_their_successor() {
    is_survived(Fault::Leaders);
}

#[test]
fn cells_that_die() {
    is_survived(Fault::Cells);
}

#[test]
fn changes_that_are_heard_late() {
    is_survived(Fault::Feeds);
}

#[test]
fn routers_that_die() {
    is_survived(Fault::Routers);
}

#[test]
fn all_of_it_together() {
    is_survived(Fault::Everything);
}

#[test]
fn a_seed_always_gives_the_same_run() {
    for seed in 500..504 {
        let (one, other) = (schedule::run(Fault::Everything, seed), schedule::run(Fault::Everything, seed));
        let differs = one.history.iter().zip(&other.history).find(|(a, b)| a != b);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(one.history.len(), other.history.len(), "seed {seed}");
        assert!(one.history.len() > 100);
    }
}
