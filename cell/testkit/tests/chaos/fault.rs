//! Breaking a dependency in one of seven ways, and mending it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use nix::sys::signal::Signal;
use testkit::{Proxy, Weather};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::world::{SHARED, World};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dependency {
    Postgres,
    Nats,
    Kafka,
    Bucket,
    Catalog,
    Global,
    Router,
    Cell,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// `kill -9`, and started again.
    Kill,
    /// Nothing answers, nothing is closed.
    Stop,
    /// Every answer takes long.
    Slow,
    Refused,
    /// Connections are cut in the middle of what they carry.
    Reset,
    /// Not a byte more can be written.
    Full,
    /// Stopped in order, and started without anything it had only cached.
    Cold,
}

/// What is broken now; mended by [`Broken::mend`].
pub enum Broken {
    Proxy(Dependency),
    Processes(Vec<String>),
    Frozen(Vec<String>),
    Paced(JoinHandle<()>, Vec<String>),
    Disk(PathBuf, Dependency),
    Quota,
}

impl Dependency {
    /// Processes under the shared cell; the bucket's and the global plane's serve others too.
    fn processes(self, world: &World) -> anyhow::Result<Vec<String>> {
        match self {
            Dependency::Postgres => world.site.processes("shared-1.postgres"),
            Dependency::Nats => world.site.processes("shared-1.nats"),
            Dependency::Kafka => world.site.processes("shared-1.kafka"),
            Dependency::Catalog => world.site.processes("shared-1.iceberg-catalog"),
            Dependency::Global => world.site.processes("global.global"),
            Dependency::Router => world.site.processes("router.router"),
            Dependency::Cell => {
                let servers = ["shared-1.postgres", "shared-1.nats", "shared-1.kafka"];
                let all = world.site.processes("shared-1.")?;
                Ok(all.into_iter().filter(|name| !servers.contains(&name.as_str())).collect())
            }
            Dependency::Bucket => bail!("the other cell's bucket lives in the same processes"),
        }
    }

    fn proxy(self, world: &World) -> Option<&Proxy> {
        match self {
            Dependency::Postgres => Some(&world.ways.postgres),
            Dependency::Nats => Some(&world.ways.nats),
            Dependency::Bucket => Some(&world.ways.bucket),
            Dependency::Global => Some(&world.ways.global),
            _ => None,
        }
    }
}

impl Fault {
    fn weather(self) -> Weather {
        match self {
            Fault::Stop => Weather::Silent,
            Fault::Slow => Weather::Slow(Duration::from_millis(100)),
            Fault::Reset => Weather::Reset,
            _ => Weather::Refused,
        }
    }
}

/// Where there is a network between, the network fails; else the process does.
pub async fn inflict(world: &Arc<World>, on: Dependency, fault: Fault) -> anyhow::Result<Broken> {
    match (fault, on.proxy(world)) {
        (Fault::Full, _) if on == Dependency::Bucket => {
            world.site.bucket(SHARED)?.close().await?;
            Ok(Broken::Quota)
        }
        (Fault::Full, _) => fill(world, on),
        (Fault::Slow | Fault::Refused | Fault::Reset, Some(proxy)) => through(proxy, on, fault),
        (_, Some(proxy)) if on == Dependency::Bucket => through(proxy, on, fault),
        (Fault::Kill | Fault::Refused | Fault::Reset, _) => {
            let names = on.processes(world)?;
            world.site.kill(&names).await?;
            Ok(Broken::Processes(names))
        }
        (Fault::Stop, _) => {
            let names = on.processes(world)?;
            world.site.signal(&names, Signal::SIGSTOP)?;
            Ok(Broken::Frozen(names))
        }
        (Fault::Slow, _) => {
            let names = on.processes(world)?;
            Ok(Broken::Paced(tokio::spawn(pace(Arc::clone(world), names.clone())), names))
        }
        (Fault::Cold, _) => {
            let names = on.processes(world)?;
            world.site.stop_processes(&names).await?;
            world.forget_caches(on)?;
            Ok(Broken::Processes(names))
        }
    }
}

fn through(proxy: &Proxy, on: Dependency, fault: Fault) -> anyhow::Result<Broken> {
    proxy.set(fault.weather());
    Ok(Broken::Proxy(on))
}

/// Runs for 20 ms of every 120: a machine that is far too small.
async fn pace(world: Arc<World>, names: Vec<String>) {
    let mut beat = interval(Duration::from_millis(20));
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for tick in 0_u32.. {
        beat.tick().await;
        let signal = if tick.is_multiple_of(6) { Signal::SIGCONT } else { Signal::SIGSTOP };
        if world.site.signal(&names, signal).is_err() {
            return;
        }
    }
}

/// A file takes all the room there is on the dependency's own file system.
fn fill(world: &World, on: Dependency) -> anyhow::Result<Broken> {
    let disk = world.disk(on).with_context(|| format!("{on:?} has no disk of its own in this suite"))?;
    let ballast = disk.join("ballast");
    let status = std::process::Command::new("dd")
        .args(["if=/dev/zero", "bs=64k", "status=none"])
        .arg(format!("of={}", ballast.display()))
        .stderr(std::process::Stdio::null())
        .status()?;
    anyhow::ensure!(!status.success(), "{} is larger than a disk should be", disk.display());
    Ok(Broken::Disk(ballast, on))
}

impl Broken {
    pub async fn mend(self, world: &World) -> anyhow::Result<()> {
        match self {
            Broken::Proxy(on) => on.proxy(world).context("no proxy")?.set(Weather::Fair),
            Broken::Quota => world.site.bucket(SHARED)?.reopen().await?,
            Broken::Processes(names) => world.site.start_killed(&names).await?,
            Broken::Frozen(names) => world.site.signal(&names, Signal::SIGCONT)?,
            Broken::Paced(pace, names) => {
                pace.abort();
                // Its last word may have been a stop.
                let _ = pace.await;
                world.site.signal(&names, Signal::SIGCONT)?;
            }
            Broken::Disk(ballast, on) => {
                std::fs::remove_file(ballast)?;
                if on == Dependency::Nats {
                    // A stream that once failed to write refuses until its server is started again.
                    let names = on.processes(world)?;
                    world.site.kill(&names).await?;
                    world.site.start_killed(&names).await?;
                }
                world.start_what_a_full_disk_ended(SHARED).await?;
            }
        }
        Ok(())
    }
}
