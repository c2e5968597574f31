//! Starts processes, notices when one ends, stops them in order. Nothing it started outlives it.

use std::fs::OpenOptions;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tokio::sync::watch;

use super::{Identity, Spec, last_line, ports, spawner};
use crate::error::{At, Error, Result};
use crate::files::private_dir;

/// A log that has grown past this is set aside when its process starts.
const LOG_LIMIT_BYTES: u64 = 64 * 1024 * 1024;
const PROBE_PAUSE: Duration = Duration::from_millis(40);
/// One probe may not hold up the deadline.
const PROBE_PATIENCE: Duration = Duration::from_secs(3);

/// A process that ended without being asked to.
#[derive(Debug, Clone)]
pub struct Death {
    pub process: String,
    pub status: String,
    pub last_words: String,
    pub log: PathBuf,
}

impl Death {
    fn of(process: &str, status: String, log: &Path, log_start: u64) -> Self {
        let last_words = last_line(&log_since(log, log_start));
        Self { process: process.to_owned(), status, last_words, log: log.to_owned() }
    }
}

impl From<Death> for Error {
    fn from(d: Death) -> Self {
        Error::Died { process: d.process, status: d.status, last_words: d.last_words, log: d.log }
    }
}

struct Running {
    spec: Spec,
    identity: Identity,
    exit: watch::Receiver<Option<String>>,
    stopping: Arc<AtomicBool>,
    log: PathBuf,
    log_start: u64,
}

impl Running {
    fn has_ended(&self) -> bool {
        self.exit.borrow().is_some()
    }

    fn death(&self) -> Death {
        let status = self.exit.borrow().clone().unwrap_or_else(|| "running".into());
        Death::of(&self.spec.name, status, &self.log, self.log_start)
    }
}

struct Inner {
    run: PathBuf,
    log: PathBuf,
    running: Mutex<Vec<Arc<Running>>>,
    first_death: watch::Sender<Option<Death>>,
}

/// The parent of a site's processes. Dropping the last clone ends them all at once.
#[derive(Clone)]
pub struct Supervisor {
    inner: Arc<Inner>,
}

impl Supervisor {
    /// `run` holds pid files, `log` one log per process.
    pub fn new(run: &Path, log: &Path) -> Result<Self> {
        private_dir(run)?;
        private_dir(log)?;
        let inner = Inner {
            run: run.to_owned(),
            log: log.to_owned(),
            running: Mutex::new(Vec::new()),
            first_death: watch::Sender::new(None),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Starts a process and waits until it is ready. If it is not, it is ended before this returns.
    pub async fn start(&self, spec: Spec) -> Result<Identity> {
        for address in &spec.listens {
            ports::await_free(*address, &spec.name).await?;
        }
        if let Some(before) = &spec.before {
            before().await.map_err(|detail| Error::refused(&spec.name, detail))?;
        }
        let running = self.launch(spec)?;
        let outcome = await_ready(&running).await;
        if outcome.is_err() {
            self.stop_one(&running).await;
        }
        outcome.map(|()| running.identity)
    }

    fn launch(&self, spec: Spec) -> Result<Arc<Running>> {
        let log = self.inner.log.join(format!("{}.log", spec.name));
        let log_start = set_aside_if_large(&log)?;
        let file = OpenOptions::new().create(true).append(true).open(&log).at("cannot write the log", &log)?;
        let second = file.try_clone().at("cannot write the log", &log)?;
        let mut command = spec.command();
        command.stdin(Stdio::null()).stdout(file).stderr(second);
        let mut child = spawner::spawn(command)
            .map_err(|e| Error::command(format!("{} ({})", spec.name, spec.program.display()), e.to_string()))?;
        let Some(identity) = Identity::of(child.id()) else {
            // It has ended already, so this does not wait.
            let status = child.wait().map_or_else(|e| e.to_string(), describe);
            return Err(Death::of(&spec.name, status, &log, log_start).into());
        };
        identity.write(&self.pid_file(&spec.name))?;
        let (sender, exit) = watch::channel(None);
        let stopping = Arc::new(AtomicBool::new(false));
        let running = Arc::new(Running { spec, identity, exit, stopping, log, log_start });
        self.list(|list| list.push(running.clone()));
        self.watch(child, running.clone(), sender)?;
        Ok(running)
    }

    /// One thread per child waits for its end: std's children have no asynchronous wait.
    fn watch(&self, mut child: Child, running: Arc<Running>, exit: watch::Sender<Option<String>>) -> Result<()> {
        let first_death = self.inner.first_death.clone();
        let name = running.spec.name.clone();
        let wait = move || {
            let status = child.wait().map_or_else(|e| e.to_string(), describe);
            exit.send_replace(Some(status));
            if !running.stopping.load(Ordering::SeqCst) {
                first_death.send_if_modified(|first| {
                    let is_first = first.is_none();
                    first.get_or_insert_with(|| running.death());
                    is_first
                });
            }
        };
        std::thread::Builder::new()
            .name(format!("wait {name}"))
            .spawn(wait)
            .map(|_| ())
            .map_err(|e| Error::command(name, e.to_string()))
    }

    /// Resolves when a process ends that nobody asked to end.
    pub async fn death(&self) -> Death {
        let mut deaths = self.inner.first_death.subscribe();
        loop {
            if let Some(death) = deaths.borrow_and_update().clone() {
                return death;
            }
            if deaths.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Name and pid of everything that runs.
    pub fn processes(&self) -> Vec<(String, Identity)> {
        self.list(|list| list.iter().filter(|r| !r.has_ended()).map(|r| (r.spec.name.clone(), r.identity)).collect())
    }

    /// Stops one process as the site would. False if no such process runs.
    pub async fn stop(&self, name: &str) -> bool {
        let Some(running) = self.find(name) else { return false };
        self.stop_one(&running).await;
        true
    }

    /// Ends one process without warning, as a crash would. False if no such process runs.
    pub async fn kill(&self, name: &str) -> bool {
        let Some(running) = self.find(name) else { return false };
        running.stopping.store(true, Ordering::SeqCst);
        running.identity.signal_group(Signal::SIGKILL);
        self.stop_one(&running).await;
        true
    }

    /// Starts a process again that has been stopped or killed.
    pub async fn start_again(&self, name: &str) -> Result<Identity> {
        let spec = self.list(|list| list.iter().rev().find(|r| r.spec.name == name).map(|r| r.spec.clone()));
        let spec = spec.ok_or_else(|| Error::refused(format!("cannot start {name} again"), "it never ran"))?;
        self.list(|list| list.retain(|r| r.spec.name != name || !r.has_ended()));
        self.start(spec).await
    }

    /// Stops everything, rank by rank.
    pub async fn stop_all(&self) {
        let mut all = self.list(std::mem::take);
        all.sort_by_key(|r| std::cmp::Reverse(r.spec.rank));
        for running in &all {
            running.stopping.store(true, Ordering::SeqCst);
        }
        for same_rank in all.chunk_by(|a, b| a.spec.rank == b.spec.rank) {
            futures::future::join_all(same_rank.iter().map(|r| self.stop_one(r))).await;
        }
    }

    async fn stop_one(&self, running: &Running) {
        running.stopping.store(true, Ordering::SeqCst);
        running.identity.signal(running.spec.stop_signal);
        if !ended_within(running, running.spec.grace).await {
            running.identity.signal_group(Signal::SIGKILL);
            ended_within(running, Duration::from_secs(10)).await;
        }
        // A missing pid file says the same as a removed one.
        let _ = std::fs::remove_file(self.pid_file(&running.spec.name));
    }

    fn find(&self, name: &str) -> Option<Arc<Running>> {
        self.list(|list| list.iter().find(|r| r.spec.name == name && !r.has_ended()).cloned())
    }

    fn list<T>(&self, with: impl FnOnce(&mut Vec<Arc<Running>>) -> T) -> T {
        with(&mut self.inner.running.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn pid_file(&self, name: &str) -> PathBuf {
        self.inner.run.join(format!("{name}.pid"))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        for running in self.running.get_mut().unwrap_or_else(PoisonError::into_inner) {
            running.stopping.store(true, Ordering::SeqCst);
            running.identity.signal_group(Signal::SIGKILL);
        }
    }
}

async fn await_ready(running: &Running) -> Result<()> {
    let begun = Instant::now();
    let mut exit = running.exit.clone();
    loop {
        let probe = tokio::time::timeout(PROBE_PATIENCE, (running.spec.ready)());
        let answer = tokio::select! {
            _ = exit.wait_for(Option::is_some) => return Err(running.death().into()),
            answer = probe => answer.unwrap_or_else(|_| Err("no answer".into())),
        };
        let Err(reason) = answer else { return Ok(()) };
        if begun.elapsed() > running.spec.deadline {
            return Err(Error::NotReady {
                process: running.spec.name.clone(),
                deadline: running.spec.deadline,
                reason,
                log: running.log.clone(),
            });
        }
        tokio::select! {
            _ = exit.wait_for(Option::is_some) => return Err(running.death().into()),
            () = tokio::time::sleep(PROBE_PAUSE) => {}
        }
    }
}

async fn ended_within(running: &Running, patience: Duration) -> bool {
    let mut exit = running.exit.clone();
    tokio::time::timeout(patience, exit.wait_for(Option::is_some)).await.is_ok()
}

fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}

/// Length of the log a new process appends to.
fn set_aside_if_large(log: &Path) -> Result<u64> {
    let length = log.metadata().map_or(0, |m| m.len());
    if length < LOG_LIMIT_BYTES {
        return Ok(length);
    }
    std::fs::rename(log, log.with_extension("log.1")).at("cannot set aside the log", log)?;
    Ok(0)
}

/// What a process has written since it started, at most the last 64 KiB.
fn log_since(log: &Path, start: u64) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = std::fs::File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(start.max(length.saturating_sub(64 * 1024))))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().unwrap_or_default()
}

#[cfg(test)]
#[path = "supervisor_tests.rs"]
mod tests;
