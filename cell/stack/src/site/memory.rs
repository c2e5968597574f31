//! How much memory a site takes.

use std::collections::BTreeMap;

use crate::process::Identity;

/// A process with everything it has forked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessMemory {
    pub name: String,
    pub pid: u32,
    /// Resident, KiB; pages shared between the forks are counted once per fork.
    pub rss_kib: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Memory {
    pub processes: Vec<ProcessMemory>,
}

impl Memory {
    pub(super) fn of(processes: &[(String, Identity)]) -> Self {
        let table = table();
        let measure = |(name, identity): &(String, Identity)| ProcessMemory {
            name: name.clone(),
            pid: identity.pid,
            rss_kib: family(&table, identity.pid),
        };
        Self { processes: processes.iter().map(measure).collect() }
    }

    pub fn total_mib(&self) -> u64 {
        self.processes.iter().map(|p| p.rss_kib).sum::<u64>() / 1024
    }
}

/// pid → (parent, resident KiB).
fn table() -> BTreeMap<u32, (u32, u64)> {
    let read = |pid: u32| -> Option<(u32, (u32, u64))> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let field =
            |name: &str| status.lines().find_map(|l| l.strip_prefix(name))?.split_whitespace().next()?.parse().ok();
        Some((pid, (u32::try_from(field("PPid:")?).ok()?, field("VmRSS:").unwrap_or(0u64))))
    };
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|e| e.file_name().to_string_lossy().parse().ok()).filter_map(read).collect()
}

fn family(table: &BTreeMap<u32, (u32, u64)>, pid: u32) -> u64 {
    let own = table.get(&pid).map_or(0, |(_, rss)| *rss);
    let children = table.iter().filter(|(_, (parent, _))| *parent == pid).map(|(child, _)| *child);
    own + children.map(|child| family(table, child)).sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_count_with_their_parent() {
        let table = BTreeMap::from([(1, (0, 10)), (2, (1, 5)), (3, (2, 1)), (4, (0, 100))]);
        assert_eq!(family(&table, 1), 16);
    }
}
