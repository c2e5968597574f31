//! A folder of one test process. A process that is killed cannot clean up after itself, so the next
//! one removes the folders of processes that no longer live.

use std::path::{Path, PathBuf};

use anyhow::Context;

const PREFIX: &str = "cytoplane-test-";

/// `<tmp>/cytoplane-test-<pid>/<name>`, made anew.
pub fn fresh(name: &str) -> anyhow::Result<PathBuf> {
    let root = std::env::temp_dir();
    sweep(&root);
    let path = root.join(format!("{PREFIX}{}", std::process::id())).join(name);
    if path.exists() {
        std::fs::remove_dir_all(&path).with_context(|| format!("cannot clear {}", path.display()))?;
    }
    std::fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
    Ok(path)
}

/// Removes this process's folders.
pub fn clear() {
    let own = std::env::temp_dir().join(format!("{PREFIX}{}", std::process::id()));
    remove(&own);
}

fn sweep(root: &Path) {
    let Ok(entries) = std::fs::read_dir(root) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|n| n.strip_prefix(PREFIX)).and_then(|n| n.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            remove(&entry.path());
        }
    }
}

/// Another process may be removing the same leftovers.
fn remove(path: &Path) {
    let _removed = std::fs::remove_dir_all(path);
}
