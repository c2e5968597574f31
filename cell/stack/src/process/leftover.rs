//! Processes of an earlier run. A pid alone proves nothing (it may have been given to a stranger), so
//! pid files carry the start time too, and only a process that matches both is ours.

use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::error::Result;
use crate::files::write_private;

/// A process, for certain: its number and when the kernel started it (clock ticks since boot).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    pub pid: u32,
    started: u64,
}

impl Identity {
    pub fn of(pid: u32) -> Option<Self> {
        start_time(pid).map(|started| Self { pid, started })
    }

    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        write_private(path, format!("{} {}\n", self.pid, self.started).as_bytes()).map(|_| ())
    }

    pub fn read(path: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(path).ok()?;
        let (pid, started) = text.trim().split_once(' ')?;
        Some(Self { pid: pid.parse().ok()?, started: started.parse().ok()? })
    }

    pub fn is_alive(&self) -> bool {
        start_time(self.pid) == Some(self.started)
    }

    pub fn signal(&self, signal: Signal) {
        if self.is_alive() {
            // The process may end between the check and the signal: nothing is lost then.
            let _ = kill(Pid::from_raw(self.pid.cast_signed()), signal);
        }
    }

    /// Signals the whole group this process leads.
    pub(crate) fn signal_group(&self, signal: Signal) {
        if self.is_alive() {
            let _ = killpg(Pid::from_raw(self.pid.cast_signed()), signal);
        }
    }

    /// Waits until it is gone; false if it still runs after `patience`.
    pub async fn gone_within(&self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        while self.is_alive() {
            if Instant::now() > until {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        true
    }
}

/// Field 22 of /proc/<pid>/stat; a zombie counts as gone.
fn start_time(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command name is in brackets and may itself hold brackets and spaces.
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    if *fields.first()? == "Z" {
        return None;
    }
    fields.get(19)?.parse().ok()
}

/// Ends whatever the pid files in `run` still name, and removes the files. Returns the names.
pub(crate) async fn end_all(run: &Path) -> Vec<String> {
    let mut ended = Vec::new();
    let Ok(entries) = std::fs::read_dir(run) else { return ended };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|e| e != "pid") {
            continue;
        }
        if let Some(identity) = Identity::read(&path)
            && identity.is_alive()
            && identity.pid != std::process::id()
        {
            identity.signal_group(Signal::SIGTERM);
            if !identity.gone_within(Duration::from_secs(3)).await {
                identity.signal_group(Signal::SIGKILL);
                identity.gone_within(Duration::from_secs(5)).await;
            }
            ended.push(path.file_stem().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default());
        }
        // Gone already is as good.
        let _ = std::fs::remove_file(&path);
    }
    ended
}

/// Waits until no process works in `folder` any more; ends those that stay too long.
pub(crate) async fn end_workers_in(folder: &Path) {
    const PATIENCE: Duration = Duration::from_secs(5);
    let workers = workers_in(folder);
    let gone = workers.iter().map(|worker| worker.gone_within(PATIENCE));
    let gone = futures::future::join_all(gone).await;
    for (worker, _) in workers.iter().zip(gone).filter(|(_, gone)| !gone) {
        worker.signal(Signal::SIGKILL);
        worker.gone_within(PATIENCE).await;
    }
}

/// Processes whose working directory is `folder`.
fn workers_in(folder: &Path) -> Vec<Identity> {
    let Ok(folder) = folder.canonicalize() else { return Vec::new() };
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let inside = entries.filter(|e| std::fs::read_link(e.path().join("cwd")).is_ok_and(|cwd| cwd == folder));
    inside.filter_map(|e| e.file_name().to_string_lossy().parse().ok()).filter_map(Identity::of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_given_to_a_stranger_is_not_ours() {
        let own = Identity::of(std::process::id()).unwrap();
        assert!(own.is_alive());
        assert!(!Identity { started: own.started + 1, ..own }.is_alive());
    }

    #[tokio::test]
    async fn a_crashed_runs_child_is_found_and_ended() {
        use std::os::unix::process::CommandExt;
        let run = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new("sleep").arg("60").process_group(0).spawn().unwrap();
        Identity::of(child.id()).unwrap().write(&run.path().join("sleeper.pid")).unwrap();
        assert_eq!(end_all(run.path()).await, ["sleeper"]);
        assert!(!child.wait().unwrap().success());
        assert!(end_all(run.path()).await.is_empty());
    }

    #[test]
    fn workers_are_found_by_their_folder() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(workers_in(folder.path()), []);
        let mut child = std::process::Command::new("sleep").arg("60").current_dir(folder.path()).spawn().unwrap();
        assert_eq!(workers_in(folder.path()).iter().map(|w| w.pid).collect::<Vec<_>>(), [child.id()]);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
