//! Everything that can keep a site from standing, each as one line a person can act on.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A tool of the machine is absent or too old.
    #[error("{what}; {remedy}")]
    Missing { what: String, remedy: String },
    #[error("part {part} cannot be fetched: {reason}; {alternative}")]
    Part { part: String, reason: String, alternative: String },
    #[error("{program} failed: {detail}")]
    Command { program: String, detail: String },
    #[error("{address} ({wanted_by}) is taken by {holder}")]
    PortTaken { address: SocketAddr, wanted_by: String, holder: String },
    #[error("{process} ended ({status}): {last_words}; log: {log}")]
    Died { process: String, status: String, last_words: String, log: PathBuf },
    #[error("{process} was not ready after {} s: {reason}; log: {log}", deadline.as_secs())]
    NotReady { process: String, deadline: Duration, reason: String, log: PathBuf },
    #[error("a site already runs in {state} (cyto, pid {pid})")]
    AlreadyRunning { state: PathBuf, pid: u32 },
    #[error("{what}: {path}")]
    Io {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{path} has {free_mib} MiB free, {needed_mib} MiB are needed")]
    DiskFull { path: PathBuf, free_mib: u64, needed_mib: u64 },
    #[error("{what}: {detail}")]
    Refused { what: String, detail: String },
    #[error("{0} is not valid: {1}")]
    Invalid(String, String),
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub fn command(program: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Command { program: program.into(), detail: detail.into() }
    }

    pub fn refused(what: impl Into<String>, detail: impl ToString) -> Self {
        Self::Refused { what: what.into(), detail: detail.to_string() }
    }
}

/// Names the file an I/O error is about.
pub(crate) trait At<T> {
    fn at(self, what: &'static str, path: &Path) -> Result<T>;
}

impl<T> At<T> for std::io::Result<T> {
    fn at(self, what: &'static str, path: &Path) -> Result<T> {
        self.map_err(|source| Error::Io { what, path: path.to_owned(), source })
    }
}
