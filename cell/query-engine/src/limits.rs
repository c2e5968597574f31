//! What one statement and one process may use.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use datafusion::common::resources_datafusion_err;
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation};
use kit::config::{SettingsError, positive};
use serde::Deserialize;

/// Limits of an engine. Sizes in bytes. Nothing here cuts a result short: a statement that reaches
/// a limit fails and says so.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Memory of one statement's operators; sorts, joins and aggregates spill before they reach it.
    pub statement_memory: usize,
    /// Memory of all statements together.
    pub total_memory: usize,
    /// Spill files of all statements together.
    pub spill: u64,
    /// Folder of spill files, emptied when the engine starts; the system's temporary folder when
    /// absent.
    pub spill_folder: Option<PathBuf>,
    pub statement_seconds: u64,
    /// Length of a statement's text.
    pub statement_text: usize,
    /// Encoded size of bound parameters: they travel inside a ticket.
    pub parameters: usize,
    /// Threads' worth of partitions per statement; the machine's cores when 0.
    pub partitions: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            statement_memory: 384 << 20,
            total_memory: 768 << 20,
            spill: 8 << 30,
            spill_folder: None,
            statement_seconds: 300,
            statement_text: 1 << 20,
            parameters: 1 << 20,
            partitions: 0,
        }
    }
}

impl Limits {
    /// Refuses limits under which no statement could run.
    pub fn validate(&self) -> Result<(), SettingsError> {
        positive(&[
            ("limits.statement_memory", self.statement_memory as u64),
            ("limits.total_memory", self.total_memory as u64),
            ("limits.statement_text", self.statement_text as u64),
            ("limits.statement_seconds", self.statement_seconds),
        ])
    }

    pub fn statement_time(&self) -> Duration {
        Duration::from_secs(self.statement_seconds)
    }

    pub fn target_partitions(&self) -> usize {
        match self.partitions {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            n => n,
        }
    }
}

/// Memory of one statement, inside the memory of all. Dropping it gives back what a failed
/// statement might have left behind.
pub(crate) struct StatementMemory {
    used: AtomicUsize,
    limit: usize,
    all: Arc<TotalMemory>,
}

/// What all statements of an engine use together.
#[derive(Debug)]
pub(crate) struct TotalMemory {
    used: AtomicUsize,
    limit: usize,
}

impl TotalMemory {
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), limit })
    }
}

impl StatementMemory {
    pub fn new(limit: usize, all: Arc<TotalMemory>) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), limit, all })
    }
}

impl fmt::Debug for StatementMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for StatementMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "statement({} of {} bytes)", self.used.load(Ordering::Relaxed), self.limit)
    }
}

/// Adds unless the sum would pass the limit.
fn take(used: &AtomicUsize, limit: usize, additional: usize) -> bool {
    used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| {
        now.checked_add(additional).filter(|sum| *sum <= limit)
    })
    .is_ok()
}

impl MemoryPool for StatementMemory {
    fn name(&self) -> &str {
        "statement"
    }

    fn grow(&self, _: &MemoryReservation, additional: usize) {
        self.used.fetch_add(additional, Ordering::Relaxed);
        self.all.used.fetch_add(additional, Ordering::Relaxed);
    }

    fn shrink(&self, _: &MemoryReservation, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        self.all.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> DataFusionResult<()> {
        let who = reservation.consumer().name();
        if !take(&self.used, self.limit, additional) {
            return Err(resources_datafusion_err!("{who} needs {additional} more bytes"));
        }
        if !take(&self.all.used, self.all.limit, additional) {
            self.used.fetch_sub(additional, Ordering::Relaxed);
            return Err(resources_datafusion_err!(
                "{who} needs {additional} more bytes and other statements hold them"
            ));
        }
        Ok(())
    }

    fn register(&self, _: &MemoryConsumer) {}

    fn reserved(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.limit)
    }
}

impl Drop for StatementMemory {
    fn drop(&mut self) {
        self.all.used.fetch_sub(self.used.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_stops_at_its_own_limit_and_at_everybodys() {
        let all = TotalMemory::new(100);
        let pool: Arc<dyn MemoryPool> = StatementMemory::new(80, Arc::clone(&all));
        let other: Arc<dyn MemoryPool> = StatementMemory::new(80, Arc::clone(&all));
        let mine = MemoryConsumer::new("sort").register(&pool);
        let theirs = MemoryConsumer::new("join").register(&other);
        assert!(mine.try_grow(70).is_ok());
        assert!(mine.try_grow(20).is_err());
        assert!(theirs.try_grow(40).is_err());
        assert!(theirs.try_grow(30).is_ok());
        drop((mine, theirs, pool, other));
        assert_eq!(all.used.load(Ordering::Relaxed), 0);
    }
}
