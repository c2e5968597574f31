//! What the servers of one test process stand on: a folder, an address and a supervisor of their own.

use std::path::{Path, PathBuf};

use anyhow::Context;
use stack::addresses::Addresses;
use stack::parts::{Parts, Tree};
use stack::process::Supervisor;
use stack::report::Reporter;
use stack::secrets::Secrets;
use tokio::sync::OnceCell;

use crate::folder;

/// Never dropped: its processes die with this one.
pub struct Ground {
    pub dir: PathBuf,
    pub addresses: Addresses,
    pub supervisor: Supervisor,
    pub secrets: Secrets,
}

static GROUND: OnceCell<Ground> = OnceCell::const_new();

pub async fn ground() -> anyhow::Result<&'static Ground> {
    GROUND.get_or_try_init(|| async { Ground::lay() }).await
}

impl Ground {
    fn lay() -> anyhow::Result<Self> {
        let dir = folder::fresh("servers")?;
        Ok(Self {
            addresses: Addresses::spare()?,
            supervisor: Supervisor::new(&dir.join("run"), &dir.join("log"))?,
            secrets: Secrets::in_dir(&dir.join("secrets"))?,
            dir,
        })
    }
}

/// A part's tree, fetched if it is not there yet.
pub async fn part(name: &str) -> anyhow::Result<Tree> {
    let tree = Parts::in_cache()?.ensure(name, &Reporter::plain()).await;
    tree.with_context(|| format!("part {name}"))
}

/// Python with the clients other people write, as a part.
pub async fn python() -> anyhow::Result<PathBuf> {
    Ok(part("clients").await?.path("bin/python"))
}

/// A program of this build, beside the folder of the test binaries.
pub fn binary(name: &str) -> anyhow::Result<PathBuf> {
    let path = binaries()?.join(name);
    anyhow::ensure!(path.is_file(), "{} is missing: build the workspace first", path.display());
    Ok(path)
}

pub fn binaries() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let profile = own.parent().and_then(Path::parent).context("a test binary without a target folder")?;
    Ok(profile.to_owned())
}
