//! The proxies, one thread each, without an access log where there is a choice.

pub mod bare;
mod envoy;
mod haproxy;
mod nginx;
mod ours;

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::CORES;
use crate::ground::Ground;
use crate::load::Load;

/// A map of a million tenants takes some of them long to read.
const START_PATIENCE: Duration = Duration::from_secs(180);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Nginx,
    Haproxy,
    HaproxySecure,
    Envoy,
    Bare,
    BareSecure,
    Router,
    RouterRefusing,
}

const ALL: [Kind; 8] = [
    Kind::Nginx,
    Kind::Haproxy,
    Kind::HaproxySecure,
    Kind::Envoy,
    Kind::Bare,
    Kind::BareSecure,
    Kind::Router,
    Kind::RouterRefusing,
];

impl Kind {
    /// Those whose programs were given: `CYTO_NGINX`, `CYTO_HAPROXY`, `CYTO_ENVOY`.
    pub fn here() -> Vec<Kind> {
        ALL.into_iter().filter(|kind| kind.variable().is_none_or(|name| std::env::var_os(name).is_some())).collect()
    }

    fn variable(self) -> Option<&'static str> {
        match self {
            Kind::Nginx => Some("CYTO_NGINX"),
            Kind::Haproxy | Kind::HaproxySecure => Some("CYTO_HAPROXY"),
            Kind::Envoy => Some("CYTO_ENVOY"),
            Kind::Bare | Kind::BareSecure | Kind::Router | Kind::RouterRefusing => None,
        }
    }

    fn program(self) -> PathBuf {
        match self.variable() {
            Some(name) => std::env::var_os(name).expect("the program").into(),
            None if self.is_bare() => std::env::current_exe().unwrap(),
            None => env!("CARGO_BIN_EXE_router").into(),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Kind::Nginx => "nginx, HTTP/1.1",
            Kind::Haproxy => "HAProxy, HTTP/1.1",
            Kind::HaproxySecure => "HAProxy, HTTP/2 mTLS",
            Kind::Envoy => "Envoy, HTTP/1.1",
            Kind::Bare => "bare pingora, HTTP/1.1",
            Kind::BareSecure => "bare pingora, HTTP/2 mTLS",
            Kind::Router => "the router, HTTP/2 mTLS",
            Kind::RouterRefusing => "the router, refusing",
        }
    }

    /// It knows one cell only.
    pub fn is_bare(self) -> bool {
        matches!(self, Kind::Bare | Kind::BareSecure)
    }

    pub fn refuses(self) -> bool {
        self == Kind::RouterRefusing
    }
}

pub struct Running {
    pub kind: Kind,
    pub address: SocketAddr,
    /// From the start of the process to the first right answer.
    pub took: Duration,
    child: Child,
}

impl Running {
    /// Its files are written before the clock starts.
    pub async fn start(kind: Kind, ground: &Ground) -> Self {
        let folder = ground.path().join(format!("{kind:?}"));
        std::fs::create_dir(&folder).unwrap();
        let address = free_address();
        let mut arguments = match kind {
            Kind::Nginx => nginx::prepare(ground, &folder, address),
            Kind::Haproxy => haproxy::prepare(ground, &folder, address, false),
            Kind::HaproxySecure => haproxy::prepare(ground, &folder, address, true),
            Kind::Envoy => envoy::prepare(ground, &folder, address),
            Kind::Bare => bare::prepare(ground, address, false),
            Kind::BareSecure => bare::prepare(ground, address, true),
            Kind::Router | Kind::RouterRefusing => ours::prepare(ground, &folder, address),
        };
        arguments.insert(0, kind.program().display().to_string());
        let said = |name: &str| File::create(folder.join(name)).unwrap();
        let begun = Instant::now();
        let child = Command::new("taskset")
            .args(["-c", &CORES.1.to_string()])
            .args(arguments)
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(said("out"))
            .stderr(said("err"))
            .spawn()
            .unwrap();
        let mut running = Self { kind, address, took: Duration::ZERO, child };
        let mut ticks = tokio::time::interval(Duration::from_millis(1));
        let load = Load::of(ground, &running);
        // The one that refuses lets its first request in.
        while !load.answers().await {
            ticks.tick().await;
            let ended = running.child.try_wait().unwrap();
            if ended.is_some() || begun.elapsed() > START_PATIENCE {
                let err = std::fs::read_to_string(folder.join("err")).unwrap_or_default();
                panic!("{} does not answer ({ended:?}):\n{err}", kind.name());
            }
        }
        running.took = begun.elapsed();
        running
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Writes a map of every host and its cell, a line each.
fn write_map(ground: &Ground, path: &Path, line: impl Fn(&str, &str) -> String) {
    use std::io::Write;
    let mut file = std::io::BufWriter::new(File::create(path).unwrap());
    for (host, cell) in ground.places() {
        file.write_all(line(&host, cell).as_bytes()).unwrap();
    }
    file.flush().unwrap();
}
