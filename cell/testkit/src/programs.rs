//! Parts and programs that tests use as they are.

use std::path::{Path, PathBuf};

use anyhow::Context;
use stack::parts::{Parts, Tree};
use stack::report::Reporter;

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
