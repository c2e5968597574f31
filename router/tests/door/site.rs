//! A site of test peers around one real router process.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use contracts::routing::{CellEndpoint, Change, FeedLine, Route, Table};
use contracts::seal::Unsealed;
use contracts::{CellId, Generation, TenantId, TierId};
use ed25519_dalek::{Signer as _, SigningKey};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::certs::Authority;
use crate::peer::{self, Peer};
use crate::tokens::{jwks, signing_key};

pub struct Site {
    pub authority: Arc<Authority>,
    pub global: Option<Peer>,
    pub shared: Peer,
    pub shared_sql: Peer,
    pub dedicated: Peer,
    pub router: Option<Router>,
    /// Drain deadline of a router that is started, far beyond what any request here takes.
    pub drain_seconds: u64,
    global_address: SocketAddr,
    version: u64,
    /// Routers started so far.
    started: usize,
    // Last: what the router said is read from here when a test fails.
    pub folder: tempfile::TempDir,
}

pub struct Router {
    process: Process,
    pub http: SocketAddr,
    pub https: SocketAddr,
    pub flight: SocketAddr,
    admin: SocketAddr,
}

/// Ended when dropped.
struct Process {
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            for said in [&self.err, &self.out] {
                eprintln!("--- router said:\n{}", std::fs::read_to_string(said).unwrap_or_default());
            }
        }
    }
}

/// Bounds a hang. Nothing is measured by it: a busy machine may be slow.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn ticks() -> tokio::time::Interval {
    tokio::time::interval(Duration::from_millis(10))
}

/// Waits for a condition.
pub async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let begun = Instant::now();
    let mut ticks = ticks();
    while !holds().await {
        assert!(begun.elapsed() < PATIENCE, "not in time: {what}");
        ticks.tick().await;
    }
}

pub fn route(tenant: &str, cell: &str, generation: u64) -> Route {
    Route {
        tenant: TenantId::new(tenant).unwrap(),
        cell: CellId::new(cell).unwrap(),
        generation: Generation(generation),
        hosts: vec![format!("{tenant}.localhost")],
        tier: TierId::default(),
    }
}

/// What seals lines of the routing feed.
fn seal(lines: &[String], kid: &str, key: &SigningKey) -> String {
    let mut unsealed = Unsealed::default();
    lines.iter().for_each(|line| unsealed.add(format!("{line}\n").as_bytes()));
    let signature = URL_SAFE_NO_PAD.encode(key.sign(&unsealed.statement()).to_bytes());
    serde_json::to_string(&FeedLine::Seal { kid: kid.into(), signature }).unwrap()
}

impl Site {
    /// Peers up, acme in shared-1, globex in dedicated-1; no router yet.
    pub async fn peers() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let authority = Arc::new(Authority::new());
        let server = |service: &str, part: &str| {
            authority.server(
                &format!("{service}.{part}.cytoplane.internal"),
                &format!("spiffe://cytoplane/{part}/{service}"),
            )
        };
        let global = peer::start("global", server("global", "global"));
        let shared = peer::start("shared-1", server("gateway", "shared-1"));
        let shared_sql = peer::start("shared-1 sql", server("sql-bi-gateway", "shared-1"));
        let dedicated = peer::start("dedicated-1", server("gateway", "dedicated-1"));
        let mut table = Table { version: 10, ..Table::default() };
        for (name, http, flight) in [("shared-1", &shared, &shared_sql), ("dedicated-1", &dedicated, &dedicated)] {
            let cell = CellId::new(name).unwrap();
            let (http, flight) = (http.address.to_string(), flight.address.to_string());
            let endpoint = CellEndpoint { cell: cell.clone(), http, flight, door: None };
            table.cells.insert(cell, endpoint);
        }
        for route in [route("acme", "shared-1", 1), route("globex", "dedicated-1", 2)] {
            table.routes.insert(route.tenant.clone(), route);
        }
        let mut lines: Vec<_> = table.lines().iter().map(|line| serde_json::to_string(line).unwrap()).collect();
        lines.push(seal(&lines, "k1", &signing_key()));
        global.behaviour.feed.send_replace(lines);
        *global.behaviour.jwks.lock().await = jwks(&[("k1", &signing_key())]);
        let folder = tempfile::tempdir().unwrap();
        authority.write_identity(&folder.path().join("identity"));
        let global_address = global.address;
        Self {
            folder,
            authority,
            global: Some(global),
            shared,
            shared_sql,
            dedicated,
            router: None,
            drain_seconds: 60,
            global_address,
            version: 10,
            started: 0,
        }
    }

    /// Ends the cell's gateway and starts a new one on the same address.
    pub async fn restart_shared(&mut self) {
        let listener = self.shared.stop().await;
        let spiffe = "spiffe://cytoplane/shared-1/gateway";
        let tls = self.authority.server("gateway.shared-1.cytoplane.internal", spiffe);
        self.shared = peer::start_on(listener, "shared-1 again", tls);
    }

    /// The global plane is gone, its address refuses connections.
    pub async fn stop_global(&mut self) {
        self.global.take().unwrap().stop().await;
    }

    /// The whole site, ready.
    pub async fn start() -> Self {
        let mut site = Self::peers().await;
        site.start_router("").await;
        site
    }

    /// Starts a router on ports that the kernel chooses; `limits` are lines of its section `limits`.
    pub async fn start_router(&mut self, limits: &str) {
        let patient = if limits.contains("connect_seconds") { "" } else { "connect_seconds = 30\n" };
        let config = format!(
            "data_dir = 'data'\nglobal_url = 'https://{}'\nlog = 'debug'\ndrain_seconds = {}\n[identity]\ndir = 'identity'\n\
             [listen]\nhttp = '127.0.0.1:0'\nhttps = '127.0.0.1:0'\nflight = '127.0.0.1:0'\nadmin = '127.0.0.1:0'\n\
             [tls]\nnames = 'names'\n[limits]\n{patient}{limits}",
            self.global_address, self.drain_seconds
        );
        let path = self.folder.path().join("config.toml");
        std::fs::write(&path, config).unwrap();
        self.started += 1;
        let said = |stream| self.folder.path().join(format!("{stream}-{}", self.started));
        let (out, err) = (said("out"), said("err"));
        let child = Command::new(env!("CARGO_BIN_EXE_router"))
            .arg("--config")
            .arg(&path)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(std::fs::File::create(&out).unwrap())
            .stderr(std::fs::File::create(&err).unwrap())
            .spawn()
            .unwrap();
        let mut process = Process { child, out, err };
        let [http, https, flight, admin] = process.doors().await;
        self.router = Some(Router { process, http, https, flight, admin });
        until("ready", async || self.admin("/ready").await.0 == 200).await;
    }

    /// Starts a router beside the one that runs, on the same folder; answers the one before.
    pub async fn succeed(&mut self) -> Router {
        let before = self.router.take().unwrap();
        self.start_router("").await;
        before
    }

    pub fn router(&self) -> &Router {
        self.router.as_ref().unwrap()
    }

    pub async fn admin(&self, path: &str) -> (u16, String) {
        let url = format!("http://{}{path}", self.router().admin);
        match reqwest::Client::builder().no_proxy().build().unwrap().get(url).send().await {
            Ok(response) => (response.status().as_u16(), response.text().await.unwrap()),
            Err(_) => (0, String::new()),
        }
    }

    /// A client for which every `*.localhost` is the router.
    pub fn client(&self) -> reqwest::ClientBuilder {
        let mut builder = reqwest::Client::builder().no_proxy().timeout(PATIENCE);
        for name in ["acme.localhost", "globex.localhost", "nobody.localhost", "global.localhost"] {
            builder = builder.resolve(name, self.router().http);
        }
        builder
    }

    pub fn url(&self, host: &str, path: &str) -> String {
        format!("http://{host}:{}{path}", self.router().http.port())
    }

    /// Adds a delta to the feed, and its seal.
    pub fn change(&mut self, change: Change) {
        self.change_sealed(change, "k1", &signing_key());
    }

    pub fn change_sealed(&mut self, change: Change, kid: &str, key: &SigningKey) {
        self.version += 1;
        let line = serde_json::to_string(&FeedLine::Delta { version: self.version, change }).unwrap();
        let seal = seal(std::slice::from_ref(&line), kid, key);
        self.global.as_ref().unwrap().behaviour.feed.send_modify(|lines| lines.extend([line, seal]));
    }

    /// Takes the last change out of the feed.
    pub fn take_back(&mut self) {
        self.version -= 1;
        self.global.as_ref().unwrap().behaviour.feed.send_modify(|lines| lines.truncate(lines.len() - 2));
    }

    pub async fn wait_for_metric(&self, line: &str) {
        until(line, async || self.admin("/metrics").await.1.lines().any(|found| found == line)).await;
    }

    /// The snapshots of a kind on disk. A process that was killed may leave a half-written file beside them.
    pub fn snapshots(&self, kind: &str) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.folder.path().join("data").join(kind)).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "snap")).collect()
    }

    /// Waits until a snapshot stands on disk: a process killed earlier has not kept it.
    pub async fn wait_for_snapshot(&self, kind: &str) {
        until(kind, async || !self.snapshots(kind).is_empty()).await;
    }

    /// The access log's line of a path, once it is written.
    pub async fn logged(&self, path: &str) -> serde_json::Value {
        let find = || {
            let text = std::fs::read_to_string(&self.router().process.out).unwrap();
            let whole = text.rfind('\n').map_or("", |end| &text[..end]);
            let mut lines = whole.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
            lines.find(|line| line["path"] == path)
        };
        until(path, async || find().is_some()).await;
        find().unwrap()
    }
}

impl Process {
    /// Where it says it listens: HTTP, HTTPS, Flight SQL, operators.
    async fn doors(&mut self) -> [SocketAddr; 4] {
        let begun = Instant::now();
        let mut ticks = ticks();
        loop {
            ticks.tick().await;
            if let Some(doors) = listening(&std::fs::read_to_string(&self.err).unwrap()) {
                return doors;
            }
            assert!(self.child.try_wait().unwrap().is_none(), "the router ended at once");
            assert!(begun.elapsed() < PATIENCE, "the router does not listen");
        }
    }
}

fn listening(said: &str) -> Option<[SocketAddr; 4]> {
    let whole = said.rfind('\n').map_or("", |end| &said[..end]);
    let at = |door: &str| {
        let mark = format!("listening door=\"{door}\" address=");
        whole.lines().find_map(|line| line.split_once(&mark)?.1.parse().ok())
    };
    Some([at("http")?, at("https")?, at("flight")?, at("admin")?])
}

impl Router {
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.process.child.id() as i32), signal).unwrap();
    }

    /// Everything it wrote.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.process.out).unwrap() + &std::fs::read_to_string(&self.process.err).unwrap()
    }

    /// Exit code and how long the end took.
    pub async fn ended(&mut self) -> (Option<i32>, Duration) {
        let begun = Instant::now();
        let mut ticks = ticks();
        loop {
            ticks.tick().await;
            if let Some(status) = self.process.child.try_wait().unwrap() {
                return (status.code(), begun.elapsed());
            }
            assert!(begun.elapsed() < PATIENCE, "does not end");
        }
    }
}
