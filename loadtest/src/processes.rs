//! The site's processes: what they hold in memory and what they spend of the processors.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::figures::Figures;

/// `/proc` counts time in hundredths of a second on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// Our own programs among the site's processes.
fn is_own(name: &str) -> bool {
    ["router", "global", "cell"].iter().any(|part| name.ends_with(part))
}

/// Proportional memory of each of our processes and of the whole site.
pub fn memory(state: &Path, figures: &mut Figures) -> anyhow::Result<()> {
    let parents = parents()?;
    let mut total = 0;
    for (name, pid) in site(state)? {
        let bytes = proportional(pid, &parents);
        total += bytes;
        if is_own(&name) {
            figures.add(format!("idle memory, {name}"), mebibytes(bytes), "MiB");
        }
    }
    figures.add("idle memory, whole site", mebibytes(total), "MiB");
    Ok(())
}

/// Processor time spent by the site from here to [`Meter::read`].
pub struct Meter<'a> {
    state: &'a Path,
    before: BTreeMap<String, f64>,
    since: Instant,
}

/// Seconds of processor time, and how long it took.
pub struct Spent {
    pub own: f64,
    pub all: f64,
    pub elapsed: Duration,
}

impl<'a> Meter<'a> {
    pub fn start(state: &'a Path) -> anyhow::Result<Self> {
        Ok(Self { state, before: seconds(state)?, since: Instant::now() })
    }

    pub fn read(&self) -> anyhow::Result<Spent> {
        let elapsed = self.since.elapsed();
        let mut spent = Spent { own: 0.0, all: 0.0, elapsed };
        for (name, after) in seconds(self.state)? {
            let used = after - self.before.get(&name).copied().unwrap_or(0.0);
            spent.all += used;
            spent.own += if is_own(&name) { used } else { 0.0 };
        }
        Ok(spent)
    }
}

/// Name and pid of every process the site runs, from `<state>/run/<process>.pid`.
fn site(state: &Path) -> anyhow::Result<Vec<(String, u32)>> {
    let run = state.join("run");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&run).with_context(|| format!("{}: is the site running?", run.display()))? {
        let path = entry?.path();
        let (Some("pid"), Some(name)) = (path.extension().and_then(|e| e.to_str()), path.file_stem()) else { continue };
        let text = std::fs::read_to_string(&path)?;
        if let Some(pid) = text.split_whitespace().next().and_then(|t| t.parse().ok()) {
            found.push((name.to_string_lossy().into_owned(), pid));
        }
    }
    Ok(found)
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

fn children(pid: u32, parents: &BTreeMap<u32, u32>) -> impl Iterator<Item = u32> {
    parents.iter().filter(move |(_, parent)| **parent == pid).map(|(child, _)| *child)
}

/// Proportional set size of a process and its children: shared pages of Postgres' processes count once.
fn proportional(pid: u32, parents: &BTreeMap<u32, u32>) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let own = field(&rollup, "Pss:").unwrap_or(0) * 1024;
    own + children(pid, parents).map(|child| proportional(child, parents)).sum::<u64>()
}

/// Processor seconds of every process of the site, its living and its ended children included.
fn seconds(state: &Path) -> anyhow::Result<BTreeMap<String, f64>> {
    let parents = parents()?;
    Ok(site(state)?.into_iter().map(|(name, pid)| (name, ticks(pid, &parents) as f64 / TICKS_PER_SECOND)).collect())
}

fn ticks(pid: u32, parents: &BTreeMap<u32, u32>) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The second field is the program's name in brackets and may hold spaces; utime is the 14th.
    let times = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().skip(11).take(4);
    let own: u64 = times.filter_map(|field| field.parse::<u64>().ok()).sum();
    own + children(pid, parents).map(|child| ticks(child, parents)).sum::<u64>()
}
