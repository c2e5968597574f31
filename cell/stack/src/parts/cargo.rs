//! What comes from crates.io, through cargo.

use std::path::Path;
use std::process::Command;

use super::declaration::Crate;
use crate::error::{At, Result};
use crate::process::{run, wrap};

pub(super) async fn fetch(recipe: &Crate, fresh: &Path) -> Result<()> {
    let work = tempfile::tempdir().at("cannot make a folder below", Path::new("/tmp"))?;
    if recipe.install {
        let mut install = cargo(work.path());
        install.args(["install", "--quiet", "--locked", "--no-track", &recipe.name, "--version", &recipe.version]);
        install.arg("--root").arg(fresh).arg("--target-dir").arg(work.path().join("target"));
        return run("cargo install", install).await.map(|_| ());
    }
    let manifest = work.path().join("Cargo.toml");
    std::fs::write(&manifest, dependent(recipe)).at("cannot write", &manifest)?;
    std::fs::write(work.path().join("lib.rs"), "").at("cannot write below", work.path())?;
    let mut vendor = cargo(work.path());
    vendor.args(["vendor", "--quiet"]);
    run("cargo vendor", vendor).await?;
    let mut copy = wrap(Path::new("cp"), false);
    copy.arg("-r").arg(work.path().join("vendor").join(&recipe.name).join(".")).arg(fresh);
    run("cp", copy).await.map(|_| ())
}

/// A package of no other use than to depend on the crate: cargo checks what it downloads for one.
fn dependent(recipe: &Crate) -> String {
    format!(
        "[package]\nname = \"part\"\nversion = \"0.0.0\"\nedition = \"2021\"\n[lib]\npath = \"lib.rs\"\n\
         [dependencies]\n{} = \"={}\"\n",
        recipe.name, recipe.version
    )
}

/// cargo with the user's own settings of its registry.
fn cargo(at: &Path) -> Command {
    let mut command = wrap(Path::new("cargo"), false);
    let is_setting = |name: &str| {
        let of_cargo = ["CARGO_HOME", "CARGO_REGISTR", "CARGO_HTTP", "CARGO_NET", "CARGO_SOURCE", "RUSTUP_"];
        of_cargo.iter().any(|begin| name.starts_with(begin)) || name.ends_with("_proxy") || name.starts_with("SSL_CERT")
    };
    command.envs(std::env::vars_os().filter(|(name, _)| is_setting(&name.to_string_lossy()))).current_dir(at);
    command
}
