//! What every part of a cell is driven by, whatever it is and wherever it runs.

use std::fmt;

use async_trait::async_trait;

use crate::error::Result;
use crate::process::Supervisor;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Create,
    Alter,
    Remove,
}

/// One difference between what is wanted and what is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub action: Action,
    pub what: String,
}

impl Change {
    pub fn create(what: impl Into<String>) -> Self {
        Self { action: Action::Create, what: what.into() }
    }

    pub fn alter(what: impl Into<String>) -> Self {
        Self { action: Action::Alter, what: what.into() }
    }

    pub fn remove(what: impl Into<String>) -> Self {
        Self { action: Action::Remove, what: what.into() }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.action {
            Action::Create => '+',
            Action::Alter => '~',
            Action::Remove => '-',
        };
        write!(f, "{sign} {}", self.what)
    }
}

/// Brings one part to its declared state and tells how far it is from it. Every verb may be repeated.
#[async_trait]
pub trait Driver: Send + Sync {
    /// `<owner>.<part>`.
    fn name(&self) -> &str;

    /// What [`Driver::apply`] would change on disk; looks, touches nothing.
    async fn plan(&self) -> Result<Vec<Change>>;

    /// Makes it so: files, then the process, then what lives inside the server.
    async fn apply(&self, supervisor: &Supervisor) -> Result<()>;

    /// Whether the running server does its work; the reason if it does not.
    async fn check(&self) -> Result<()>;

    /// How the running server differs from what was applied.
    async fn drift(&self) -> Result<Vec<Change>>;

    /// Removes its data. The process must have been stopped.
    async fn destroy(&self) -> Result<()>;
}

/// `Alter` if the file differs, `Create` if it is absent.
pub(crate) fn file_change(path: &std::path::Path, wanted: &str) -> Option<Change> {
    match std::fs::read(path) {
        Ok(found) if found == wanted.as_bytes() => None,
        Ok(_) => Some(Change::alter(path.display().to_string())),
        Err(_) => Some(Change::create(path.display().to_string())),
    }
}
