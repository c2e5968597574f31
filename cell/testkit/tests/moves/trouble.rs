//! Processes are killed, and stand still for a while, at random; never two at once.

use std::time::Duration;

use nix::sys::signal::Signal;
use rand::Rng as _;
use rand::seq::IndexedRandom as _;
use tokio::time::{Instant, sleep_until};

use crate::world::World;

/// Whoever takes part in a move, and the door.
const WHO: [&str; 4] = ["shared-1.cell", "dedicated-1.cell", "global.global", "router.router"];
/// Until the next.
const PAUSE: std::ops::Range<u64> = 500..4_000;
/// Standing still: for a cell's peers that is a request that is late, or an answer.
const STILL: std::ops::Range<u64> = 100..2_000;

fn after(milliseconds: std::ops::Range<u64>) -> Instant {
    Instant::now() + Duration::from_millis(rand::rng().random_range(milliseconds))
}

pub async fn without_end(world: &World) -> anyhow::Result<()> {
    loop {
        sleep_until(after(PAUSE)).await;
        let who = WHO.choose(&mut rand::rng()).map(|name| vec![(*name).to_owned()]).unwrap_or_default();
        if rand::rng().random_ratio(1, 3) {
            world.site.kill(&who).await?;
            sleep_until(after(STILL)).await;
            world.site.start_killed(&who).await?;
        } else {
            world.site.signal(&who, Signal::SIGSTOP)?;
            sleep_until(after(STILL)).await;
            world.site.signal(&who, Signal::SIGCONT)?;
        }
    }
}

/// Whoever was left dead or standing lives again.
pub async fn over(world: &World) -> anyhow::Result<()> {
    let who = WHO.map(str::to_owned);
    world.site.signal(&who, Signal::SIGCONT)?;
    for name in who {
        if world.site.has_ended(&name)? {
            world.site.start_killed(&[name]).await?;
        }
    }
    Ok(())
}
