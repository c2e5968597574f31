//! What a site consists of, where its state lies, and the file that says so.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use trace::Telemetry;

use crate::addresses::{
    Addresses, GLOBAL_PORT, ROUTER_ADMIN_PORT, ROUTER_FLIGHT_PORT, ROUTER_HTTP_PORT, ROUTER_HTTPS_PORT,
};
use crate::error::{At, Error, Result};
use crate::files::{private_dir, write_private};

/// Shared by many tenants, or one organisation's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CellKind {
    Shared,
    Dedicated,
}

/// A cell as declared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CellPlan {
    pub name: String,
    /// Last octet of its address.
    pub number: u8,
    pub kind: CellKind,
}

/// How a cell's services are spread over processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Arrangement {
    /// All in one process.
    #[default]
    Together,
    /// Each in its own.
    Apart,
}

/// Where a cell's own processes reach a server when that is not where it listens: something stands
/// between, a proxy for example.
#[derive(Debug, Clone, Default)]
pub struct Detours {
    pub postgres: Option<SocketAddr>,
    pub nats: Option<SocketAddr>,
    pub bucket: Option<SocketAddr>,
    pub global: Option<SocketAddr>,
}

/// Everything needed to start a site.
#[derive(Debug, Clone)]
pub struct Settings {
    /// State directory; made if absent.
    pub state: PathBuf,
    pub addresses: Addresses,
    pub cells: Vec<CellPlan>,
    /// Where the programs `global`, `cell` and `router` lie.
    pub binaries: PathBuf,
    pub arrangement: Arrangement,
    /// Most bytes a cell's bucket may hold.
    pub bucket_quota_bytes: u64,
    /// By cell.
    pub detours: BTreeMap<String, Detours>,
    /// Overrides of the services' own defaults, by service, in every cell.
    pub services: toml::Table,
    /// Where all of our processes send their spans.
    pub telemetry: Telemetry,
}

impl Settings {
    /// The default site: cells `shared-1` and `dedicated-1`, programs beside the running one.
    pub fn new(state: &Path) -> Self {
        let own = std::env::current_exe().ok();
        let binaries = own.as_deref().and_then(Path::parent).map_or_else(|| PathBuf::from("."), Path::to_owned);
        Self {
            state: state.to_owned(),
            addresses: Addresses::default(),
            cells: vec![
                CellPlan { name: "shared-1".into(), number: 1, kind: CellKind::Shared },
                CellPlan { name: "dedicated-1".into(), number: 2, kind: CellKind::Dedicated },
            ],
            binaries,
            arrangement: Arrangement::Together,
            bucket_quota_bytes: 20 << 30,
            detours: BTreeMap::new(),
            services: toml::Table::new(),
            telemetry: Telemetry::default(),
        }
    }
}

/// The site as others find it: `<state>/site.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// Second octet of every address.
    pub octet: u8,
    pub router: RouterDescription,
    pub global: GlobalDescription,
    pub cells: Vec<CellDescription>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouterDescription {
    pub http: String,
    pub https: String,
    pub flight: String,
    pub admin: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GlobalDescription {
    /// Behind mTLS; clients use `host` at the router.
    pub url: String,
    pub host: String,
    /// JSON `{client_id, client_secret}` of the first administrator.
    pub bootstrap_admin: PathBuf,
    pub ca: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CellDescription {
    #[serde(flatten)]
    pub plan: CellPlan,
    pub address: IpAddr,
}

impl Description {
    pub(super) fn of(settings: &Settings, layout: &Layout) -> Self {
        let (router, addresses) = (settings.addresses.router(), settings.addresses);
        let cell = |plan: &CellPlan| CellDescription { plan: plan.clone(), address: addresses.cell(plan.number) };
        Self {
            octet: addresses.octet(),
            router: RouterDescription {
                http: format!("http://{router}:{ROUTER_HTTP_PORT}"),
                https: format!("https://{router}:{ROUTER_HTTPS_PORT}"),
                flight: format!("grpc://{router}:{ROUTER_FLIGHT_PORT}"),
                admin: format!("http://{router}:{ROUTER_ADMIN_PORT}"),
            },
            global: GlobalDescription {
                url: format!("https://{}:{GLOBAL_PORT}", addresses.global()),
                host: "global.localhost".into(),
                bootstrap_admin: layout.global().join("secrets/bootstrap-admin"),
                ca: layout.ca().join("ca.pem"),
            },
            cells: settings.cells.iter().map(cell).collect(),
        }
    }

    /// Reads `<state>/site.toml`; `None` if no site was ever started there.
    pub fn read(state: &Path) -> Result<Option<Self>> {
        let path = state.join("site.toml");
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                let parsed = toml::from_str(&text);
                parsed.map(Some).map_err(|e| Error::Invalid(path.display().to_string(), e.message().to_owned()))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).at("cannot read", &path),
        }
    }

    pub(super) fn write(&self, state: &Path) -> Result<()> {
        let text = toml::to_string(self).map_err(|e| Error::refused("site.toml cannot be written", e))?;
        write_private(&state.join("site.toml"), text.as_bytes()).map(|_| ())
    }
}

/// Folders of a site's state.
#[derive(Debug, Clone)]
pub struct Layout {
    state: PathBuf,
}

impl Layout {
    /// Makes the state directory and resolves it: files written there hold absolute paths.
    pub(super) fn make(state: &Path) -> Result<Self> {
        private_dir(state)?;
        Ok(Self { state: state.canonicalize().at("cannot resolve", state)? })
    }

    pub fn state(&self) -> &Path {
        &self.state
    }

    pub fn ca(&self) -> PathBuf {
        self.state.join("ca")
    }

    pub fn ceph(&self) -> PathBuf {
        self.state.join("ceph")
    }

    pub fn global(&self) -> PathBuf {
        self.state.join("global")
    }

    pub fn router(&self) -> PathBuf {
        self.state.join("router")
    }

    pub fn cell(&self, name: &str) -> PathBuf {
        self.state.join("cells").join(name)
    }

    pub fn log(&self) -> PathBuf {
        self.state.join("log")
    }

    pub fn run(&self) -> PathBuf {
        self.state.join("run")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_reads_back_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings::new(dir.path());
        let description = Description::of(&settings, &Layout::make(dir.path()).unwrap());
        description.write(dir.path()).unwrap();
        assert_eq!(Description::read(dir.path()).unwrap(), Some(description));
        assert_eq!(Description::read(Path::new("/nowhere")).unwrap(), None);
    }
}
