//! Kafka's classes, read and checked once: the JVM then maps them from an archive, which halves the
//! processor time of every start (3.3 s to 1.8 s measured).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::{JVM, Kafka};
use crate::addresses::Addresses;
use crate::driver::Driver;
use crate::error::{At, Result};
use crate::java;
use crate::parts::Tree;
use crate::process::Supervisor;
use crate::report::Reporter;
use crate::secrets::Secrets;

/// Writing the archive takes a JVM some seconds at its end.
pub(super) const RECORDING_GRACE: Duration = Duration::from_secs(60);

/// What a broker does with the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Classes {
    Plain,
    Use(PathBuf),
    Record(PathBuf),
}

impl Classes {
    pub(super) fn of(tree: &Tree) -> Self {
        match archive(tree) {
            Ok(path) if path.exists() => Self::Use(path),
            _ => Self::Plain,
        }
    }

    pub(super) fn option(&self) -> Option<String> {
        match self {
            Self::Plain => None,
            Self::Use(path) => Some(format!("-XX:SharedArchiveFile={}", path.display())),
            Self::Record(path) => Some(format!("-XX:ArchiveClassesAtExit={}", path.display())),
        }
    }
}

/// An archive is good for one Java and one set of options.
fn archive(tree: &Tree) -> Result<PathBuf> {
    let (java, version) = java::find_with_version()?;
    let key = Sha256::new()
        .chain_update(java.as_os_str().as_encoded_bytes())
        .chain_update(version)
        .chain_update(JVM.concat());
    Ok(tree.path(&format!("classes-{}.jsa", &hex::encode(key.finalize())[..12])))
}

/// Records the archive by one short run of a broker, if it is not there yet.
pub async fn record(tree: &Tree, reporter: &Reporter) -> Result<()> {
    let archive = archive(tree)?;
    if archive.exists() {
        return Ok(());
    }
    reporter.during("kafka: record its classes", run_once(tree, &archive)).await
}

async fn run_once(tree: &Tree, archive: &Path) -> Result<()> {
    let dir = tempfile::tempdir().at("cannot make a folder below", Path::new("/tmp"))?;
    let fresh = archive.with_extension(std::process::id().to_string());
    let supervisor = Supervisor::new(&dir.path().join("run"), &dir.path().join("log"))?;
    let secrets = Secrets::in_dir(&dir.path().join("secrets"))?;
    let spare = Addresses::spare()?;
    let address = spare.addresses().cell(1);
    let mut kafka = Kafka::new("recording", &dir.path().join("kafka"), address, BTreeSet::new(), secrets, tree.clone());
    kafka.classes = Classes::Record(fresh.clone());
    kafka.apply(&supervisor).await?;
    supervisor.stop_all().await;
    // A JVM that wrote none only makes later starts slower.
    if fresh.exists() {
        std::fs::rename(&fresh, archive).at("cannot put into its place", archive)?;
    }
    Ok(())
}
