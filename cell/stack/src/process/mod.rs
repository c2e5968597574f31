//! Long-running processes: how one is described, started, watched and stopped.

mod leftover;
mod ports;
mod spawner;
mod supervisor;
mod unprivileged;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use nix::sys::signal::Signal;

pub use leftover::Identity;
pub(crate) use leftover::{end_all, end_workers_in};
pub use supervisor::{Death, Supervisor};
pub(crate) use unprivileged::Unprivileged;

/// Answers `Ok` when the process does its work, else why not yet.
pub type Probe = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// A process as it should run.
#[derive(Clone)]
pub struct Spec {
    /// `<owner>.<process>`, for example `shared-1.postgres`: names its log and pid file.
    pub name: String,
    pub program: PathBuf,
    pub args: Vec<OsString>,
    pub env: Vec<(String, OsString)>,
    /// Addresses that must be free before it starts.
    pub listens: Vec<SocketAddr>,
    pub ready: Probe,
    /// Done before every start, also before one after a crash.
    pub before: Option<Probe>,
    /// How long it may take to become ready.
    pub deadline: Duration,
    /// Asks it to stop; SIGKILL follows after `grace`.
    pub stop_signal: Signal,
    pub grace: Duration,
    /// Higher ranks stop first; equal ranks stop together.
    pub rank: u8,
    /// It refuses to run as root.
    pub unprivileged: bool,
}

impl Spec {
    pub fn new(name: impl Into<String>, program: impl Into<PathBuf>, ready: Probe) -> Self {
        Self {
            name: name.into(),
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            listens: Vec::new(),
            ready,
            before: None,
            deadline: Duration::from_secs(60),
            stop_signal: Signal::SIGTERM,
            grace: Duration::from_secs(10),
            rank: rank::STORE,
            unprivileged: false,
        }
    }

    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// The command with everything a child of ours needs: no inherited environment beyond the basics, a
    /// group of its own, and death with its parent.
    pub(crate) fn command(&self) -> Command {
        use std::os::unix::process::CommandExt;
        let mut command = wrap(&self.program, self.unprivileged);
        command.args(&self.args).envs(self.env.iter().map(|(k, v)| (k, v))).process_group(0);
        command
    }
}

/// In what order processes stop.
pub mod rank {
    pub const ROUTER: u8 = 9;
    pub const CELL: u8 = 8;
    pub const GLOBAL: u8 = 7;
    pub const STORE: u8 = 5;
    pub const OSD: u8 = 4;
    pub const MON: u8 = 3;
}

const KEPT_VARIABLES: &[&str] = &["PATH", "HOME", "LANG", "TZ", "TMPDIR", "RUST_LOG", "RUST_BACKTRACE"];

/// `program` behind `setpriv --pdeathsig`, so that it dies with us even if we are killed outright.
pub(crate) fn wrap(program: &Path, unprivileged: bool) -> Command {
    let mut chain: Vec<OsString> = Vec::new();
    if unprivileged {
        chain.extend(Unprivileged::of_this_machine().prefix());
    }
    // After any change of identity: the kernel forgets the death signal when credentials change.
    chain.extend(["setpriv", "--pdeathsig", "KILL", "--"].map(OsString::from));
    let mut words = chain.into_iter();
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words).arg(program).env_clear();
    for name in KEPT_VARIABLES {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}

/// Ready when something accepts connections there.
pub fn accepts(address: SocketAddr) -> Probe {
    Arc::new(move || {
        Box::pin(async move {
            tokio::net::TcpStream::connect(address).await.map(|_| ()).map_err(|e| format!("{address}: {e}"))
        })
    })
}

/// Ready when `url` answers 200.
pub fn answers(url: impl Into<String>) -> Probe {
    let url: Arc<str> = url.into().into();
    Arc::new(move || {
        let url = url.clone();
        Box::pin(async move {
            let answer = reqwest::get(&*url).await.map_err(|e| format!("{url}: {}", root_cause(&e)))?;
            if answer.status().is_success() {
                return Ok(());
            }
            let status = answer.status();
            let body = answer.text().await.unwrap_or_default();
            Err(format!("{url}: {status} {}", body.chars().take(200).collect::<String>()))
        })
    })
}

pub(crate) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

/// Runs a short command to its end without blocking the runtime; its output on success, its last words
/// on failure. Dies with us, like everything else.
pub(crate) async fn run(program: &str, command: Command) -> crate::Result<Vec<u8>> {
    run_with_input(program, command, None).await
}

pub(crate) async fn run_with_input(
    program: &str,
    mut command: Command,
    input: Option<Vec<u8>>,
) -> crate::Result<Vec<u8>> {
    use std::io::Write;
    use std::process::Stdio;
    let name = program.to_owned();
    let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
    command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
    let failed = |name: &str, detail: String| crate::Error::command(name, detail);
    let work = move || {
        let mut child = spawner::spawn(command).map_err(|e| failed(&name, e.to_string()))?;
        if let (Some(text), Some(mut pipe)) = (input, child.stdin.take()) {
            pipe.write_all(&text).map_err(|e| failed(&name, e.to_string()))?;
        }
        let output = child.wait_with_output().map_err(|e| failed(&name, e.to_string()))?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let words = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        Err(failed(&name, format!("{}: {}", output.status, last_line(&words))))
    };
    tokio::task::spawn_blocking(work).await.map_err(|e| crate::Error::command(program, e.to_string()))?
}

/// `first | second`, to the end of both.
pub(crate) async fn pipe(what: &str, mut first: Command, mut second: Command) -> crate::Result<()> {
    use std::process::Stdio;
    let name = what.to_owned();
    let work = move || {
        let failed = |detail: String| crate::Error::command(&name, detail);
        first.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut writer = spawner::spawn(first).map_err(|e| failed(e.to_string()))?;
        let pipe = writer.stdout.take().ok_or_else(|| failed("no pipe".into()))?;
        second.stdin(pipe).stdout(Stdio::null()).stderr(Stdio::piped());
        let reader = spawner::spawn(second).map_err(|e| failed(e.to_string()))?;
        let output = reader.wait_with_output().map_err(|e| failed(e.to_string()))?;
        let written = writer.wait().map_err(|e| failed(e.to_string()))?;
        if written.success() && output.status.success() {
            return Ok(());
        }
        Err(failed(format!("{written}, {}: {}", output.status, last_line(&String::from_utf8_lossy(&output.stderr)))))
    };
    tokio::task::spawn_blocking(work).await.map_err(|e| crate::Error::command(what, e.to_string()))?
}

/// The line of a log that most likely says what went wrong: the last that names an error, else the last.
pub(crate) fn last_line(text: &str) -> String {
    const TELLING: &[&str] =
        &["FATAL", "ERROR", "Error", "error", "E:", "panicked", "Exception", "failed", "No space left"];
    let lines = || text.lines().rev().map(str::trim).filter(|l| !l.is_empty());
    let telling = lines().take(200).find(|l| TELLING.iter().any(|w| l.contains(w)));
    let line = telling.or_else(|| lines().next()).unwrap_or("it said nothing");
    line.chars().take(400).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_telling_line_is_preferred_over_the_last() {
        assert_eq!(last_line("a\nFATAL: no space\nbye\n\n"), "FATAL: no space");
        assert_eq!(last_line("a\nb\n"), "b");
        assert_eq!(last_line(""), "it said nothing");
    }

    #[tokio::test]
    async fn a_failing_command_gives_its_reason() {
        let mut command = wrap(Path::new("sh"), false);
        command.args(["-c", "echo boom failed >&2; exit 3"]);
        let error = run("sh", command).await.unwrap_err().to_string();
        assert!(error.contains("boom failed") && error.contains('3'), "{error}");
    }
}
