//! What comes from PyPI, through pip.

use std::path::Path;
use std::process::Command;

use super::declaration::{Source, Venv};
use super::maven::on_path;
use crate::error::{At, Error, Result};
use crate::process::{run, wrap};

fn python() -> Result<()> {
    if on_path("python3") {
        return Ok(());
    }
    Err(Error::Missing { what: "python3 is not installed".into(), remedy: "apt-get install -y python3-venv".into() })
}

async fn make_venv(at: &Path) -> Result<()> {
    python()?;
    let mut command = wrap(Path::new("python3"), false);
    command.args(["-m", "venv"]).arg(at);
    match run("python3 -m venv", command).await {
        Err(Error::Command { detail, .. }) => Err(Error::Missing {
            what: format!("python3 cannot make an environment ({detail})"),
            remedy: "apt-get install -y python3-venv".into(),
        }),
        other => other.map(|_| ()),
    }
}

/// pip of an environment, with the user's own settings of it.
fn pip(venv: &Path) -> Command {
    let mut command = wrap(&venv.join("bin/python"), false);
    command.args(["-m", "pip", "--quiet", "--disable-pip-version-check"]);
    let settings = std::env::vars_os().filter(|(name, _)| {
        let name = name.to_string_lossy();
        name.starts_with("PIP_") || name.ends_with("_proxy") || name.starts_with("SSL_CERT")
    });
    command.envs(settings);
    command
}

/// Downloads one source distribution, checks its hash, keeps the data folder's files (unzipped).
pub(super) async fn fetch_source(recipe: &Source, fresh: &Path) -> Result<()> {
    let work = tempfile::tempdir().at("cannot make a folder below", Path::new("/tmp"))?;
    let (venv, pinned) = (work.path().join("venv"), work.path().join("requirements.txt"));
    make_venv(&venv).await?;
    std::fs::write(&pinned, format!("{} --hash=sha256:{}\n", recipe.requirement, recipe.sha256))
        .at("cannot write", &pinned)?;
    let mut download = pip(&venv);
    download.args(["download", "--no-deps", "--no-binary", ":all:", "--require-hashes", "--dest"]);
    download.arg(work.path()).arg("-r").arg(&pinned);
    run("pip download", download).await?;
    let archive = std::fs::read_dir(work.path())
        .at("cannot read", work.path())?
        .flatten()
        .map(|e| e.path())
        .find(|p| p.extension().is_some_and(|e| e == "gz"))
        .ok_or_else(|| Error::command("pip download", "it left no .tar.gz"))?;
    let mut tar = wrap(Path::new("tar"), false);
    let depth = Path::new(&recipe.folder).components().count();
    tar.arg("-xzf").arg(archive).arg("-C").arg(fresh).arg(format!("--strip-components={depth}")).arg(&recipe.folder);
    run("tar", tar).await?;
    for entry in std::fs::read_dir(fresh).at("cannot read", fresh)?.flatten() {
        if entry.path().extension().is_some_and(|e| e == "zip") {
            let mut unzip = wrap(Path::new("python3"), false);
            unzip.args(["-m", "zipfile", "-e"]).arg(entry.path()).arg(fresh);
            run("python3 -m zipfile", unzip).await?;
            std::fs::remove_file(entry.path()).at("cannot remove", &entry.path())?;
        }
    }
    Ok(())
}

/// An environment works from its final place too: only `bin/python` is used, never pip's scripts.
pub(super) async fn fetch_venv(recipe: &Venv, fresh: &Path) -> Result<()> {
    make_venv(fresh).await?;
    let mut install = pip(fresh);
    install.arg("install").args(&recipe.requirements);
    run("pip install", install).await.map(|_| ())
}
