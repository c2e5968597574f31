//! Debian packages of a newer suite, unpacked side by side with their libraries, without touching the
//! system: apt works on a state of its own and only downloads.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::debian;
use super::declaration::{Apt, Part};
use crate::error::{At, Result};
use crate::files::remove_tree;
use crate::process::{pipe, run, wrap};

/// Documentation and the like: a third of the files, none of the function.
const LEFT_OUT: &[&str] =
    &["./usr/share/doc", "./usr/share/man", "./usr/share/locale", "./usr/share/info", "./usr/share/lintian"];

pub(super) async fn fetch(part: &Part, recipe: &Apt, state: &Path, fresh: &Path, home: &Path) -> Result<()> {
    let archive = debian::archive_of_this_machine()?;
    let mut refusals = Vec::new();
    for suite in &recipe.suites {
        let suite = Suite { name: suite, dir: state.join(suite) };
        suite.prepare(&archive.line(suite.name))?;
        run("apt-get update", suite.apt("apt-get", ["-q", "update"])).await?;
        match suite.candidate(&recipe.packages[0]).await? {
            Some(version) if part.accepts(&version) => {
                let debs = suite.download(&recipe.packages).await?;
                unpack(&debs, fresh).await?;
                remove_tree(&suite.archives())?;
                return patch(recipe, fresh, home).await;
            }
            other => refusals.push(format!("{} has {}", suite.name, other.as_deref().unwrap_or("none"))),
        }
    }
    Err(part.failed(format!("no suite has an acceptable {}: {}", recipe.packages[0], refusals.join(", "))))
}

struct Suite<'a> {
    name: &'a str,
    dir: PathBuf,
}

impl Suite<'_> {
    fn archives(&self) -> PathBuf {
        self.dir.join("archives")
    }

    fn prepare(&self, line: &str) -> Result<()> {
        remove_tree(&self.archives())?;
        for folder in ["state/lists/partial", "cache", "archives/partial"] {
            let folder = self.dir.join(folder);
            std::fs::create_dir_all(&folder).at("cannot make the folder", &folder)?;
        }
        for (name, content) in [("sources.list", line), ("status", "")] {
            let path = self.dir.join(name);
            std::fs::write(&path, content).at("cannot write", &path)?;
        }
        Ok(())
    }

    /// The machine's apt with its own proxies and keys, but with a state, a cache and one source of ours.
    fn apt<'s>(&self, program: &str, args: impl IntoIterator<Item = &'s str>) -> Command {
        let at = |name: &str| self.dir.join(name).display().to_string();
        let options = [
            format!("Dir::Etc::sourcelist={}", at("sources.list")),
            "Dir::Etc::sourceparts=/dev/null".to_owned(),
            "Dir::Etc::preferences=/dev/null".to_owned(),
            "Dir::Etc::preferencesparts=/dev/null".to_owned(),
            format!("Dir::State={}", at("state")),
            format!("Dir::State::status={}", at("status")),
            format!("Dir::Cache={}", at("cache")),
            format!("Dir::Cache::archives={}", at("archives")),
            "APT::Install-Recommends=false".to_owned(),
            "APT::Sandbox::User=root".to_owned(),
            // Signatures are checked; only the expiry of a suite's index is not.
            "Acquire::Check-Valid-Until=false".to_owned(),
            "Acquire::Languages=none".to_owned(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
            "Acquire::Retries=3".to_owned(),
        ];
        let mut command = wrap(Path::new(program), false);
        command.env("LC_ALL", "C").env("DEBIAN_FRONTEND", "noninteractive");
        for option in options {
            command.arg("-o").arg(option);
        }
        command.args(args);
        command
    }

    async fn candidate(&self, package: &str) -> Result<Option<String>> {
        let text = run("apt-cache policy", self.apt("apt-cache", ["policy", package])).await?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let version = text.lines().find_map(|line| line.trim().strip_prefix("Candidate: "));
        Ok(version.filter(|v| *v != "(none)").map(str::to_owned))
    }

    async fn download(&self, packages: &[String]) -> Result<Vec<PathBuf>> {
        let fixed = ["-q", "-y", "--no-install-recommends", "--download-only", "install"];
        let args = fixed.into_iter().chain(packages.iter().map(String::as_str));
        run("apt-get install --download-only", self.apt("apt-get", args)).await?;
        let folder = self.archives();
        let entries = std::fs::read_dir(&folder).at("cannot read", &folder)?;
        let mut debs: Vec<PathBuf> =
            entries.flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "deb")).collect();
        debs.sort();
        Ok(debs)
    }
}

async fn unpack(debs: &[PathBuf], root: &Path) -> Result<()> {
    // Debian merged /bin, /lib and /sbin into /usr; these links are otherwise made by base-files.
    for name in ["bin", "sbin", "lib", "lib64"] {
        let folder = root.join("usr").join(name);
        std::fs::create_dir_all(&folder).at("cannot make the folder", &folder)?;
        let link = root.join(name);
        std::os::unix::fs::symlink(format!("usr/{name}"), &link).at("cannot link", &link)?;
    }
    for deb in debs {
        let mut read = wrap(Path::new("dpkg-deb"), false);
        read.arg("--fsys-tarfile").arg(deb);
        let mut write = wrap(Path::new("tar"), false);
        write.args(["-x", "--keep-directory-symlink", "--no-same-owner", "-C"]).arg(root);
        write.args(LEFT_OUT.iter().map(|path| OsString::from(format!("--exclude={path}"))));
        pipe("dpkg-deb | tar", read, write).await?;
    }
    Ok(())
}

/// Makes a folder's programs use the tree's own loader and libraries, at the tree's final place.
async fn patch(recipe: &Apt, fresh: &Path, home: &Path) -> Result<()> {
    let Some(folder) = &recipe.patch else { return Ok(()) };
    const LOADER: &str = "lib64/ld-linux-x86-64.so.2";
    const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";
    let programs = fresh.join(folder);
    for entry in std::fs::read_dir(&programs).at("cannot read", &programs)?.flatten() {
        let program = entry.path();
        if !is_elf(&program) {
            continue;
        }
        let mut command = wrap(&fresh.join(LOADER), false);
        command.arg("--library-path").arg(fresh.join(LIBRARIES)).arg(fresh.join("usr/bin/patchelf"));
        command.arg("--set-interpreter").arg(home.join(LOADER));
        command.arg("--force-rpath").arg("--set-rpath").arg(home.join(LIBRARIES)).arg(&program);
        run("patchelf", command).await?;
    }
    Ok(())
}

fn is_elf(path: &Path) -> bool {
    use std::io::Read;
    let mut magic = [0u8; 4];
    path.symlink_metadata().is_ok_and(|m| m.is_file())
        && std::fs::File::open(path).and_then(|mut f| f.read_exact(&mut magic)).is_ok()
        && magic == *b"\x7fELF"
}
