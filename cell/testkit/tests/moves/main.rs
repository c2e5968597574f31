//! A thousand moves of tenants between two real cells, while each is in use: first with everybody well, then with
//! processes killed and stopped at random. Not part of `cargo test`: `make moves`.

mod client;
mod moving;
#[path = "../site/rows.rs"]
#[allow(dead_code)]
mod rows;
mod trouble;
mod verdict;
mod world;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::ensure;
use testkit::{Case, Suite};

use crate::world::World;

/// Moves of one case, of which there are four; `CYTO_MOVES` says otherwise.
const MOVES: u64 = 256;

fn moves() -> anyhow::Result<u64> {
    Ok(std::env::var("CYTO_MOVES").ok().map(|text| text.parse()).transpose()?.unwrap_or(MOVES))
}

fn main() -> ExitCode {
    let cases: Vec<Case<World>> = vec![
        Case { name: "moves::while_everybody_is_well", run: |world| Box::pin(well(world)) },
        Case { name: "moves::while_processes_die_and_stand_still", run: |world| Box::pin(in_trouble(world)) },
        Case { name: "moves::while_processes_die_and_stand_still_2", run: |world| Box::pin(in_trouble(world)) },
        Case { name: "moves::while_processes_die_and_stand_still_3", run: |world| Box::pin(in_trouble(world)) },
    ];
    Suite::new(cases).run(world::World::start, world::World::stop)
}

/// Every single request is answered as it should.
async fn well(world: Arc<World>) -> anyhow::Result<()> {
    let told = moving::under_load(&world, moves()?, std::future::pending()).await?;
    told.say();
    ensure!(told.failures.is_empty(), "{:?}", told.failures);
    verdict::of(&told).await
}

/// What fails is told to its caller; nothing that was acknowledged is lost or there twice.
async fn in_trouble(world: Arc<World>) -> anyhow::Result<()> {
    let told = moving::under_load(&world, moves()?, trouble::without_end(&world)).await?;
    told.say();
    verdict::of(&told).await
}
