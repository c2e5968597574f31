//! The follower of the routing log: one line in, the table moves on or stays.

use contracts::routing::{ApplyError, FeedLine, Table};

use super::{TableError, View};

/// What the reader of the feed has to do about a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// Lines are missing: subscribe again, from the start of the log.
    #[error("the feed left the table: {0}")]
    Lost(ApplyError),
    /// The line must not be applied; the table stands as it was.
    #[error("refused: {0}")]
    Refused(#[from] TableError),
}

/// Holds the table while lines are applied to it. Deterministic; knows no clock and no transport.
#[derive(Debug, Default)]
pub struct Follower {
    table: Table,
    changed: bool,
}

impl Follower {
    pub fn new(table: Table) -> Self {
        Self { table, changed: false }
    }

    pub fn version(&self) -> u64 {
        self.table.version
    }

    /// Applies one line.
    pub fn step(&mut self, line: FeedLine) -> Result<(), StepError> {
        match line {
            FeedLine::Snapshot { table } => {
                self.table.may_become(&table).map_err(TableError::from)?;
                // Checked as a whole before it takes the old one's place.
                let table = View::new(table)?.table;
                self.changed |= table != self.table;
                self.table = table;
                Ok(())
            }
            FeedLine::Delta { version, .. } if version <= self.table.version => Ok(()),
            FeedLine::Delta { version, change } => match self.table.apply(version, &change) {
                Ok(()) => {
                    self.changed = true;
                    Ok(())
                }
                Err(error) => Err(StepError::Lost(error)),
            },
            FeedLine::Heartbeat { version } if version > self.table.version => {
                Err(StepError::Lost(ApplyError::Gap { have: self.table.version, got: version }))
            }
            FeedLine::Heartbeat { .. } => Ok(()),
        }
    }

    /// The table as a view, if it changed since it was last taken. A table that cannot be viewed
    /// (an address that is none) is given up and the caller's last good one comes back.
    pub fn take(&mut self, last_good: &View) -> Result<Option<View>, TableError> {
        if !std::mem::take(&mut self.changed) {
            return Ok(None);
        }
        match View::new(self.table.clone()) {
            Ok(view) => Ok(Some(view)),
            Err(error) => {
                self.table = last_good.table().clone();
                Err(error)
            }
        }
    }
}
