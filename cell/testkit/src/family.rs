//! A process and its children.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The parent first: a stopped one has no more children.
pub fn signal(pid: u32, signal_to_send: Signal) {
    // It may have ended meanwhile: then there is nobody to tell.
    let _ = kill(Pid::from_raw(pid.cast_signed()), signal_to_send);
    for child in children(pid) {
        signal(child, signal_to_send);
    }
}

fn children(pid: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let children = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    children.flat_map(|text| text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect()
}
