//! Our own processes: global plane, cells, router.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::future::try_join_all;

use super::settings::{Arrangement, CellPlan, Layout, Settings};
use crate::addresses::{GLOBAL_PORT, ROUTER_ADMIN_PORT, ROUTER_FLIGHT_PORT, ROUTER_HTTP_PORT, ROUTER_HTTPS_PORT};
use crate::error::{Error, Result};
use crate::process::{Spec, Supervisor, answers, rank, run, wrap};
use crate::report::Reporter;

const ADMIN_PORT: u16 = contracts::services::ADMIN_PORT;
/// Work in flight may take this long to end; the process itself gives up a little earlier.
const DRAIN: Duration = Duration::from_secs(25);
const READY: Duration = Duration::from_secs(90);

pub(super) struct Own {
    addresses: crate::addresses::Addresses,
    binaries: PathBuf,
    layout: Layout,
    supervisor: Supervisor,
}

/// Refuses early if one of our programs has not been built.
pub(super) fn require_programs(settings: &Settings) -> Result<()> {
    for name in ["global", "cell", "router"] {
        if !settings.binaries.join(name).is_file() {
            return Err(Error::Missing {
                what: format!("the program `{name}` is not in {}", settings.binaries.display()),
                remedy: "build it: cargo build --workspace --bins".into(),
            });
        }
    }
    Ok(())
}

impl Own {
    pub(super) fn new(settings: &Settings, layout: &Layout, supervisor: &Supervisor) -> Self {
        Self {
            addresses: settings.addresses,
            binaries: settings.binaries.clone(),
            layout: layout.clone(),
            supervisor: supervisor.clone(),
        }
    }

    /// Runs one of our commands to its end; what it says goes to the error if it fails.
    async fn once(&self, program: &str, words: &[&str], config: &Path) -> Result<()> {
        let mut command = wrap(&self.binaries.join(program), false);
        command.args(words).arg("--config").arg(config);
        run(&format!("{program} {}", words.join(" ")), command).await.map(|_| ())
    }

    fn spec(&self, name: &str, program: &str, config: &Path, admin: SocketAddr, health: &str) -> Spec {
        let mut spec = Spec::new(name, self.binaries.join(program), answers(format!("http://{admin}{health}")));
        if program != "router" {
            spec = spec.args(["serve"]);
        }
        spec = spec.args(["--config".into(), config.as_os_str().to_owned()]);
        spec.listens = vec![admin];
        spec.deadline = READY;
        spec.grace = DRAIN;
        spec
    }

    pub(super) async fn start_global(&self, reporter: &Reporter) -> Result<()> {
        let config = self.layout.global().join("config.toml");
        reporter.during("global migrate", self.once("global", &["migrate"], &config)).await?;
        let admin = SocketAddr::new(self.addresses.global(), ADMIN_PORT);
        let mut spec = self.spec("global.global", "global", &config, admin, "/readyz");
        spec.listens.push(SocketAddr::new(self.addresses.global(), GLOBAL_PORT));
        spec.rank = rank::GLOBAL;
        reporter.during("global.global", self.supervisor.start(spec)).await.map(|_| ())
    }

    /// Schema and bus contracts of a cell: both before it serves.
    pub(super) async fn prepare_cell(&self, cell: &CellPlan, reporter: &Reporter) -> Result<()> {
        let config = self.layout.cell(&cell.name).join("config.toml");
        let migrate = reporter.during(format!("{} migrate", cell.name), self.once("cell", &["migrate"], &config));
        let contracts =
            reporter.during(format!("{} contracts", cell.name), self.once("cell", &["contracts", "apply"], &config));
        futures::future::try_join(migrate, contracts).await.map(|_| ())
    }

    pub(super) async fn start_cell(&self, cell: CellPlan, arrangement: Arrangement, reporter: &Reporter) -> Result<()> {
        let specs = match arrangement {
            Arrangement::Together => vec![self.cell_together(&cell)],
            Arrangement::Apart => self.cell_apart(&cell),
        };
        let start = |spec: Spec| reporter.during(spec.name.clone(), self.supervisor.start(spec));
        try_join_all(specs.into_iter().map(start)).await.map(|_| ())
    }

    pub(super) async fn stop_cell(&self, cell: &str) {
        let names = contracts::services::SERVICES.iter().map(|s| s.name).chain(["cell"]);
        let names: Vec<String> = names.map(|name| format!("{cell}.{name}")).collect();
        futures::future::join_all(names.iter().map(|name| self.supervisor.stop(name))).await;
    }

    fn cell_together(&self, cell: &CellPlan) -> Spec {
        let address = self.addresses.cell(cell.number);
        let config = self.layout.cell(&cell.name).join("config.toml");
        let admin = SocketAddr::new(address, ADMIN_PORT);
        let mut spec = self.spec(&format!("{}.cell", cell.name), "cell", &config, admin, "/readyz");
        spec.listens.extend(contracts::services::SERVICES.iter().flat_map(|s| ports_of(s, address)));
        spec.rank = rank::CELL;
        spec
    }

    /// Each service has an admin port of its own, counted from the shared one.
    fn cell_apart(&self, cell: &CellPlan) -> Vec<Spec> {
        let address = self.addresses.cell(cell.number);
        let config = self.layout.cell(&cell.name).join("config.toml");
        let one = |(port, service): (u16, &contracts::services::ServiceDeclaration)| {
            let admin = SocketAddr::new(address, port);
            let name = format!("{}.{}", cell.name, service.name);
            let mut spec = self.spec(&name, "cell", &config, admin, "/readyz");
            spec = spec.args(["--services", service.name, "--admin", &admin.to_string()]);
            spec.listens.extend(ports_of(service, address));
            spec.rank = rank::CELL;
            spec
        };
        (ADMIN_PORT..).zip(contracts::services::SERVICES).map(one).collect()
    }

    pub(super) async fn start_router(&self, reporter: &Reporter) -> Result<()> {
        let address = self.addresses.router();
        let admin = SocketAddr::new(address, ROUTER_ADMIN_PORT);
        let config = self.layout.router().join("config.toml");
        let mut spec = self.spec("router.router", "router", &config, admin, "/ready");
        let ports = [ROUTER_HTTP_PORT, ROUTER_HTTPS_PORT, ROUTER_FLIGHT_PORT];
        spec.listens.extend(ports.map(|port| SocketAddr::new(address, port)));
        spec.rank = rank::ROUTER;
        reporter.during("router.router", self.supervisor.start(spec)).await.map(|_| ())
    }
}

fn ports_of(service: &contracts::services::ServiceDeclaration, address: IpAddr) -> impl Iterator<Item = SocketAddr> {
    [Some(service.http_port), service.flight_port].into_iter().flatten().map(move |port| SocketAddr::new(address, port))
}
