//! What the kernel knows of a process.

use std::future::Future;
use std::process::{Command, Stdio};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::load::Done;

/// Of a process, seconds.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    pub user: f64,
    pub system: f64,
}

impl Usage {
    /// From `/proc/<pid>/stat`, in ticks of 10 ms.
    pub fn of(pid: u32) -> Self {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the proxy has ended");
        let after = text.rsplit_once(')').expect("a stat line").1;
        let fields: Vec<&str> = after.split_whitespace().collect();
        let seconds = |at: usize| fields[at].parse::<f64>().expect("ticks") / 100.0;
        Self { user: seconds(11), system: seconds(12) }
    }

    pub fn since(self, before: &Self) -> Self {
        Self { user: self.user - before.user, system: self.system - before.system }
    }

    pub fn whole(self) -> f64 {
        self.user + self.system
    }
}

/// Resident memory, KiB.
pub fn resident(pid: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the proxy has ended");
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).expect("its memory")
}

/// System calls a request, counted by strace while `load` runs; `None` without strace.
pub async fn syscalls(pid: u32, load: impl Future<Output = Done>) -> Option<f64> {
    let said = tempfile::NamedTempFile::new().unwrap();
    let mut strace = Command::new("strace")
        .args(["-q", "-f", "-c", "-S", "calls", "-o"])
        .arg(said.path())
        .args(["-p", &pid.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let done = load.await;
    kill(Pid::from_raw(strace.id().cast_signed()), Signal::SIGINT).unwrap();
    strace.wait().unwrap();
    let text = std::fs::read_to_string(said.path()).unwrap();
    let total = text.lines().find(|line| line.trim_end().ends_with("total"))?;
    let calls: f64 = total.split_whitespace().nth(3)?.parse().ok()?;
    Some(calls / done.requests as f64)
}

/// Keeps this process on one core.
pub fn pin_self(core: usize) {
    let own = std::process::id().to_string();
    let pinned = Command::new("taskset").args(["-cp", &core.to_string(), &own]).stdout(Stdio::null()).status();
    assert!(pinned.is_ok_and(|status| status.success()), "taskset is missing: apt-get install util-linux");
}

/// As many open files as the kernel lets this process have; children inherit it.
pub fn many_files() {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
}
