//! Resident memory of the site's processes, before any load.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;

use crate::figures::Figures;

/// Reads `<state>/run/<process>.pid` and sums each process with its children.
pub fn measure(state: &Path, figures: &mut Figures) -> anyhow::Result<()> {
    let run = state.join("run");
    let parents = parents()?;
    let mut total = 0;
    let entries = std::fs::read_dir(&run).with_context(|| format!("{}: is the site running?", run.display()))?;
    for entry in entries {
        let path = entry?.path();
        let (Some("pid"), Some(name)) = (path.extension().and_then(|e| e.to_str()), path.file_stem()) else { continue };
        let text = std::fs::read_to_string(&path)?;
        let Some(pid) = text.split_whitespace().next().and_then(|t| t.parse::<u32>().ok()) else { continue };
        let bytes = tree(pid, &parents);
        total += bytes;
        let name = name.to_string_lossy();
        let ours = ["router", "global", "cell"].iter().any(|part| name.ends_with(part));
        if ours {
            figures.add(format!("idle memory, {name}"), mebibytes(bytes), "MiB");
        }
    }
    figures.add("idle memory, whole site", mebibytes(total), "MiB");
    Ok(())
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / (1024.0 * 1024.0)
}

/// Parent of every process.
fn parents() -> anyhow::Result<BTreeMap<u32, u32>> {
    let mut parents = BTreeMap::new();
    for entry in std::fs::read_dir("/proc")? {
        let Ok(pid) = entry?.file_name().to_string_lossy().parse::<u32>() else { continue };
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        if let Some(parent) = field(&status, "PPid:") {
            parents.insert(pid, parent as u32);
        }
    }
    Ok(parents)
}

fn field(status: &str, name: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

/// Proportional set size: shared pages of Postgres' processes count once.
fn tree(pid: u32, parents: &BTreeMap<u32, u32>) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let own = field(&rollup, "Pss:").unwrap_or(0) * 1024;
    let children = parents.iter().filter(|(_, parent)| **parent == pid).map(|(child, _)| *child);
    own + children.map(|child| tree(child, parents)).sum::<u64>()
}
