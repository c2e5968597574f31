//! What breaks, and that nothing is lost by it: every dependency with every fault, while rows come in and
//! statements run. Not part of `cargo test`: `make chaos`, or `make chaos CASES="postgres kafka::kill"`.
//!
//! A case pushes and asks in the shared cell and in the other one, breaks something under the shared cell,
//! mends it, and then checks both: see [`verdict`].

mod end;
mod fault;
mod load;
mod matrix;
mod orphans;
#[path = "../site/rows.rs"]
#[allow(dead_code)]
mod rows;
#[path = "../site/vended.rs"]
mod vended;
mod verdict;
mod world;

use std::process::ExitCode;

use testkit::Suite;

fn main() -> ExitCode {
    let mut cases = matrix::cases();
    cases.extend(end::cases());
    // Last: by now every fault has left what it leaves.
    cases.extend(orphans::cases());
    Suite::new(cases).run(world::World::start, world::World::stop)
}
