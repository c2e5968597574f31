//! A whole site in a folder and on addresses of its own, controlled process by process.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, anyhow, ensure};
use stack::addresses::{Addresses, GLOBAL_PORT, Spare};
use stack::ceph::Bucket;
use stack::report::Reporter;
pub use stack::site::Arrangement;
use stack::site::{Description, Settings, Site as Stack, Until};

use crate::programs::binaries;
use crate::{family, folder};

const GLOBAL: &str = "global.global";
const GLOBAL_STORE: &str = "global.postgres";
const ROUTER: &str = "router.router";

pub struct Site {
    settings: Settings,
    description: Description,
    http: SocketAddr,
    flight: SocketAddr,
    /// `None` only while everything is killed and started again.
    running: Mutex<Option<Arc<Stack>>>,
    /// Cells whose services run in processes of their own.
    apart: Mutex<BTreeSet<String>>,
    // Last: given back when everything has ended.
    _addresses: Spare,
}

impl Site {
    /// Two cells, the router and the global plane on real parts, in a temporary folder.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_as(async |_| Ok(())).await
    }

    /// The same, with settings of one's own: state folder and addresses are known, nothing runs yet.
    pub async fn start_as(prepare: impl AsyncFnOnce(&mut Settings) -> anyhow::Result<()>) -> anyhow::Result<Self> {
        let state = folder::fresh("site")?;
        let mut settings = Settings::new(&state);
        let addresses = Addresses::spare()?;
        settings.addresses = addresses.addresses();
        settings.binaries = binaries()?;
        prepare(&mut settings).await?;
        let stack = launch(&settings).await?;
        let description = stack.description().clone();
        Ok(Self {
            http: address(&description.router.http)?,
            flight: address(&description.router.flight)?,
            description,
            settings,
            running: Mutex::new(Some(Arc::new(stack))),
            apart: Mutex::default(),
            _addresses: addresses,
        })
    }

    pub fn state(&self) -> &Path {
        &self.settings.state
    }

    /// The router's HTTP door.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// The router's Flight SQL door.
    pub fn flight(&self) -> SocketAddr {
        self.flight
    }

    pub fn bootstrap_admin(&self) -> &Path {
        &self.description.global.bootstrap_admin
    }

    pub fn cell_address(&self, cell: &str) -> Option<IpAddr> {
        self.description.cells.iter().find(|c| c.plan.name == cell).map(|c| c.address)
    }

    /// Where the global plane listens for routers and cells.
    pub fn global_address(&self) -> SocketAddr {
        SocketAddr::new(self.settings.addresses.global(), GLOBAL_PORT)
    }

    pub fn cell_dir(&self, cell: &str) -> PathBuf {
        self.state().join("cells").join(cell)
    }

    fn stack(&self) -> anyhow::Result<Arc<Stack>> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.clone().ok_or_else(|| anyhow!("the site does not run"))
    }

    /// Spreads the services of a cell over processes; nothing happens if they are so already.
    pub async fn arrange(&self, cell: &str, wanted: Arrangement) -> anyhow::Result<()> {
        let (is_apart, wants_apart) = (self.apart().contains(cell), wanted == Arrangement::Apart);
        if is_apart == wants_apart {
            return Ok(());
        }
        self.stack()?.arrange(cell, wanted).await?;
        if wants_apart {
            self.apart().insert(cell.to_owned());
        } else {
            self.apart().remove(cell);
        }
        Ok(())
    }

    /// The cell's share of the object storage.
    pub fn bucket(&self, cell: &str) -> anyhow::Result<Arc<Bucket>> {
        Ok(self.stack()?.bucket(cell)?)
    }

    fn apart(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.apart.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Names of a cell's own processes, without its servers.
    pub fn processes_of(&self, cell: &str) -> anyhow::Result<Vec<String>> {
        let (servers, prefix) = (["postgres", "nats", "kafka"], format!("{cell}."));
        let is_own = |name: &String| name.strip_prefix(&prefix).is_some_and(|part| !servers.contains(&part));
        let all = self.stack()?.supervisor().processes();
        let names: Vec<String> = all.into_iter().map(|(name, _)| name).filter(is_own).collect();
        ensure!(!names.is_empty(), "no process of {cell} runs");
        Ok(names)
    }

    async fn start_again(&self, names: &[String]) -> anyhow::Result<()> {
        let stack = self.stack()?;
        let starts = names.iter().map(|name| stack.supervisor().start_again(name));
        futures::future::try_join_all(starts).await?;
        Ok(())
    }

    async fn stop_and_start(&self, names: &[String]) -> anyhow::Result<()> {
        let stack = self.stack()?;
        futures::future::join_all(names.iter().map(|name| stack.supervisor().stop(name))).await;
        self.start_again(names).await
    }

    /// Names of the processes that begin with `prefix`: `shared-1.kafka`, or `shared-1.` for all of a cell.
    pub fn processes(&self, prefix: &str) -> anyhow::Result<Vec<String>> {
        let all = self.stack()?.supervisor().processes();
        let names: Vec<String> = all.into_iter().map(|(name, _)| name).filter(|n| n.starts_with(prefix)).collect();
        ensure!(!names.is_empty(), "no process {prefix} runs");
        Ok(names)
    }

    /// SIGKILL, and nothing takes its place until [`Site::start_killed`].
    pub async fn kill(&self, names: &[String]) -> anyhow::Result<()> {
        let stack = self.stack()?;
        futures::future::join_all(names.iter().map(|name| stack.supervisor().kill(name))).await;
        Ok(())
    }

    /// Asks processes to stop, and waits until they have; the time that took.
    pub async fn stop_processes(&self, names: &[String]) -> anyhow::Result<std::time::Duration> {
        let (stack, begun) = (self.stack()?, std::time::Instant::now());
        futures::future::join_all(names.iter().map(|name| stack.supervisor().stop(name))).await;
        Ok(begun.elapsed())
    }

    /// Whether a process the site once had does not run any more.
    pub fn has_ended(&self, name: &str) -> anyhow::Result<bool> {
        let all = self.stack()?.supervisor().processes();
        Ok(all.iter().find(|(known, _)| known == name).is_none_or(|(_, identity)| !identity.is_alive()))
    }

    /// A signal to processes and to all their children, whatever group those are in.
    pub fn signal(&self, names: &[String], signal: nix::sys::signal::Signal) -> anyhow::Result<()> {
        for (name, identity) in self.stack()?.supervisor().processes() {
            if names.contains(&name) {
                family::signal(identity.pid, signal);
            }
        }
        Ok(())
    }

    pub async fn restart_cell(&self, cell: &str) -> anyhow::Result<()> {
        self.stop_and_start(&self.processes_of(cell)?).await
    }

    pub async fn restart_router(&self) -> anyhow::Result<()> {
        self.stop_and_start(&[ROUTER.to_owned()]).await
    }

    /// Restarts the router without the table it had.
    pub async fn restart_router_anew(&self) -> anyhow::Result<()> {
        let stack = self.stack()?;
        ensure!(stack.supervisor().stop(ROUTER).await, "the router did not run");
        std::fs::remove_dir_all(self.state().join("router/data/routing"))?;
        self.start_again(&[ROUTER.to_owned()]).await
    }

    /// SIGKILL to every process of ours in the cell; answers their names for [`Site::start_killed`].
    pub async fn kill_cell(&self, cell: &str) -> anyhow::Result<Vec<String>> {
        let (names, stack) = (self.processes_of(cell)?, self.stack()?);
        futures::future::join_all(names.iter().map(|name| stack.supervisor().kill(name))).await;
        Ok(names)
    }

    pub async fn start_killed(&self, names: &[String]) -> anyhow::Result<()> {
        self.start_again(names).await
    }

    /// The global plane and its database.
    pub async fn stop_global(&self) -> anyhow::Result<()> {
        let stack = self.stack()?;
        for name in [GLOBAL, GLOBAL_STORE] {
            ensure!(stack.supervisor().stop(name).await, "{name} did not run");
        }
        Ok(())
    }

    pub async fn start_global(&self) -> anyhow::Result<()> {
        for name in [GLOBAL_STORE, GLOBAL] {
            self.start_again(&[name.to_owned()]).await?;
        }
        Ok(())
    }

    /// Restarts the global plane with `extra` at the end of its configuration, until it is started otherwise.
    pub async fn restart_global_with(&self, extra: &str) -> anyhow::Result<()> {
        self.restart_with(&[GLOBAL.to_owned()], &self.state().join("global/config.toml"), extra).await
    }

    /// The same for a cell.
    pub async fn restart_cell_with(&self, cell: &str, extra: &str) -> anyhow::Result<()> {
        self.restart_with(&self.processes_of(cell)?, &self.cell_dir(cell).join("config.toml"), extra).await
    }

    async fn restart_with(&self, names: &[String], config: &Path, extra: &str) -> anyhow::Result<()> {
        let plain = std::fs::read_to_string(config)?;
        std::fs::write(config, format!("{plain}\n{extra}\n"))?;
        let restarted = self.stop_and_start(names).await;
        // The file is read once, at the start.
        std::fs::write(config, plain)?;
        restarted
    }

    pub async fn restart_global(&self) -> anyhow::Result<()> {
        self.stop_and_start(&[GLOBAL.to_owned()]).await
    }

    /// Ends every process of the site at once, servers included, and starts it on the same data.
    pub async fn kill_and_start(&self) -> anyhow::Result<()> {
        let stack = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let stack = stack.ok_or_else(|| anyhow!("the site does not run"))?;
        let processes = stack.supervisor().processes();
        // The last owner's drop sends SIGKILL to every process group.
        drop(Arc::into_inner(stack).ok_or_else(|| anyhow!("the site is in use"))?);
        for (name, identity) in processes {
            ensure!(identity.gone_within(std::time::Duration::from_secs(60)).await, "{name} outlived SIGKILL");
        }
        let stack = launch(&self.settings).await?;
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(stack));
        // A start puts every cell together; those that were apart are taken apart again.
        let apart = std::mem::take(&mut *self.apart());
        for cell in apart {
            self.arrange(&cell, Arrangement::Apart).await?;
        }
        Ok(())
    }

    /// Stops everything. The state of a failed run stays, to be looked at, until the next run.
    pub async fn stop(&self, passed: bool) {
        let stack = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(stack) = stack {
            stack.stop().await;
        }
        if passed {
            folder::clear();
        } else {
            println!("state and logs are in {}", self.state().display());
        }
    }
}

async fn launch(settings: &Settings) -> anyhow::Result<Stack> {
    let stack = Stack::start(settings.clone(), Until::Everything, &Reporter::plain()).await;
    stack.with_context(|| format!("the site in {} does not start", settings.state.display()))
}

/// `scheme://ip:port` without the scheme.
fn address(url: &str) -> anyhow::Result<SocketAddr> {
    let bare = url.split_once("://").map_or(url, |(_, rest)| rest);
    bare.parse().with_context(|| format!("{url} is not an address"))
}
