//! Real servers and data we do not own: declared in `parts.toml`, fetched once, run from the cache.

mod apt;
mod cargo;
mod debian;
mod declaration;
mod maven;
mod python;

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

pub use declaration::{Part, Recipe};

use crate::error::{At, Error, Result};
use crate::files::{remove_tree, require_space};
use crate::process::{run, wrap};
use crate::report::Reporter;

/// Changes when the way parts are unpacked changes: trees made by an older recipe are not reused.
const RECIPE: &str = "1";
/// What fetching all parts may need, MiB.
const SPACE_MIB: u64 = 3072;

/// Where parts lie, and where they are fetched to.
#[derive(Debug, Clone)]
pub struct Parts {
    cache: PathBuf,
    list: Vec<Part>,
}

/// An unpacked part.
#[derive(Debug, Clone)]
pub struct Tree {
    root: PathBuf,
    libraries: Vec<String>,
}

/// What `doctor` says of one part.
#[derive(Debug)]
pub struct Finding {
    pub part: String,
    pub purpose: String,
    pub result: std::result::Result<String, String>,
}

impl Parts {
    /// The parts of this release in the user's cache: `$XDG_CACHE_HOME/cytoplane/parts`.
    pub fn in_cache() -> Result<Self> {
        let base = std::env::var_os("XDG_CACHE_HOME").filter(|v| !v.is_empty()).map(PathBuf::from);
        let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
        let base = base.or_else(home).ok_or_else(|| Error::Missing {
            what: "neither HOME nor XDG_CACHE_HOME is set".into(),
            remedy: "set one: parts are kept there".into(),
        })?;
        Self::in_dir(&base.join("cytoplane/parts"))
    }

    pub fn in_dir(cache: &Path) -> Result<Self> {
        Ok(Self { cache: cache.to_owned(), list: declaration::all()? })
    }

    pub fn list(&self) -> &[Part] {
        &self.list
    }

    fn part(&self, name: &str) -> Result<&Part> {
        self.list.iter().find(|p| p.name == name).ok_or_else(|| Error::refused("no such part", name))
    }

    fn home(&self, part: &Part) -> PathBuf {
        let digest = Sha256::new().chain_update(RECIPE).chain_update(part.text.as_bytes()).finalize();
        self.cache.join(&part.name).join(&hex::encode(digest)[..16])
    }

    /// The part's tree if it is there already, on the machine or in the cache.
    pub async fn find(&self, name: &str) -> Result<Option<Tree>> {
        let part = self.part(name)?;
        let home = self.home(part);
        if home.is_dir() {
            return Ok(Some(Tree { root: home, libraries: part.libraries() }));
        }
        Ok(on_the_machine(part).await)
    }

    /// The part's tree, fetched if need be. Safe to call from several processes at once.
    pub async fn ensure(&self, name: &str, reporter: &Reporter) -> Result<Tree> {
        if let Some(tree) = self.find(name).await? {
            return Ok(tree);
        }
        let part = self.part(name)?;
        reporter.during(format!("fetch {name}"), self.fetch(part)).await?;
        Ok(Tree { root: self.home(part), libraries: part.libraries() })
    }

    /// Several parts at once.
    pub async fn ensure_all(&self, names: &[&str], reporter: &Reporter) -> Result<Vec<Tree>> {
        futures::future::try_join_all(names.iter().map(|name| self.ensure(name, reporter))).await
    }

    /// Names of what a site needs.
    pub fn of_a_site(&self) -> Vec<&str> {
        self.list.iter().filter(|p| p.only.is_none()).map(|p| p.name.as_str()).collect()
    }

    async fn fetch(&self, part: &Part) -> Result<()> {
        require_space(&self.cache, SPACE_MIB)?;
        let home = self.home(part);
        let folder = home.parent().unwrap_or(&self.cache);
        std::fs::create_dir_all(folder).at("cannot make the folder", folder)?;
        let _lock = lock(&self.cache.join(format!("{}.lock", part.name))).await?;
        if home.is_dir() {
            return Ok(());
        }
        // Unpacked beside its place and renamed: a tree that exists is complete.
        let fresh = folder.join(format!("{}.fetching", home.file_name().unwrap_or_default().to_string_lossy()));
        remove_tree(&fresh)?;
        std::fs::create_dir_all(&fresh).at("cannot make the folder", &fresh)?;
        let outcome = self.fetch_into(part, &fresh, &home).await;
        if let Err(error) = outcome {
            remove_tree(&fresh)?;
            return Err(match error {
                Error::Command { program, detail } => part.failed(format!("{program}: {detail}")),
                other => other,
            });
        }
        std::fs::rename(&fresh, &home).at("cannot put into its place", &home)
    }

    async fn fetch_into(&self, part: &Part, fresh: &Path, home: &Path) -> Result<()> {
        match &part.recipe {
            Recipe::Apt(recipe) => {
                let _one_at_a_time = lock(&self.cache.join("apt.lock")).await?;
                apt::fetch(part, recipe, &self.cache.join("apt"), fresh, home).await?;
            }
            Recipe::Maven(recipe) => maven::fetch(recipe, fresh).await?,
            Recipe::Source(recipe) => python::fetch_source(recipe, fresh).await?,
            Recipe::Venv(recipe) => python::fetch_venv(recipe, fresh).await?,
            Recipe::Crate(recipe) => cargo::fetch(recipe, fresh).await?,
        }
        match part.recipe.files().iter().find(|file| !fresh.join(file).exists()) {
            Some(missing) => Err(part.failed(format!("{missing} is not in what was fetched"))),
            None => Ok(()),
        }
    }

    /// Looks at every part without fetching anything.
    pub async fn examine(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for part in &self.list {
            let result = match self.find(&part.name).await {
                Ok(Some(tree)) => version_of(part, &tree).await.map_err(|e| e.to_string()),
                Ok(None) => Err("not fetched yet; `cyto doctor --fix` fetches it".to_owned()),
                Err(error) => Err(error.to_string()),
            };
            findings.push(Finding { part: part.name.clone(), purpose: part.purpose.clone(), result });
        }
        findings
    }

    /// Fetches what is missing and fetches again what is broken.
    pub async fn mend(&self, reporter: &Reporter) -> Result<()> {
        for part in self.list.iter().filter(|part| part.only.is_none()) {
            let tree = self.ensure(&part.name, reporter).await?;
            if let Err(error) = version_of(part, &tree).await {
                reporter.say(format!("{}: {error}; fetching it again", part.name));
                self.forget(&part.name)?;
                self.ensure(&part.name, reporter).await?;
            }
        }
        Ok(())
    }

    /// Removes a part's trees, so that the next [`Parts::ensure`] fetches it again.
    pub fn forget(&self, name: &str) -> Result<()> {
        remove_tree(&self.cache.join(&self.part(name)?.name))
    }
}

impl Tree {
    /// A tree that lies at `root` and needs no libraries of its own.
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned(), libraries: Vec::new() }
    }

    pub fn path(&self, inside: &str) -> PathBuf {
        self.root.join(inside)
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Program and first arguments that run `inside` with the tree's own libraries.
    pub fn launch(&self, inside: &str) -> (PathBuf, Vec<OsString>) {
        let program = self.path(inside);
        if self.libraries.is_empty() {
            return (program, Vec::new());
        }
        let paths: Vec<String> = self.libraries.iter().map(|l| self.path(l).display().to_string()).collect();
        let name = program.file_name().unwrap_or_default().to_owned();
        let args = ["--library-path".into(), paths.join(":").into(), "--argv0".into(), name, program.into_os_string()];
        (self.path("lib64/ld-linux-x86-64.so.2"), args.into())
    }

    /// A command for `inside`; dies with us.
    pub(crate) fn command(&self, inside: &str, unprivileged: bool) -> std::process::Command {
        let (program, args) = self.launch(inside);
        let mut command = wrap(&program, unprivileged);
        command.args(args);
        command
    }
}

/// A system package of the right version.
async fn on_the_machine(part: &Part) -> Option<Tree> {
    let tree = Tree { root: PathBuf::from("/"), libraries: part.libraries() };
    let Recipe::Apt(recipe) = &part.recipe else { return None };
    if !recipe.files.iter().all(|file| tree.path(file).exists()) {
        return None;
    }
    version_of(part, &tree).await.ok().map(|_| tree)
}

/// The version a tree's own program tells, if it is one that will do.
async fn version_of(part: &Part, tree: &Tree) -> Result<String> {
    let Some(probe) = &part.probe else {
        let missing = part.recipe.files().iter().find(|file| !tree.path(file).exists());
        return match missing {
            Some(file) => Err(part.failed(format!("{} is gone; remove {}", file, tree.root.display()))),
            None => Ok(tree.root.display().to_string()),
        };
    };
    let mut command = tree.command(&probe.program, false);
    command.args(&probe.args);
    let text = String::from_utf8_lossy(&run(&probe.program, command).await?).into_owned();
    match declaration::find_version(&text) {
        Some(version) if part.accepts(&version) => Ok(format!("{version} in {}", tree.root.display())),
        Some(version) => Err(part.failed(format!("version {version} will not do"))),
        None => Err(part.failed(format!("it tells no version: {}", text.trim()))),
    }
}

/// Held until dropped; other processes wait.
async fn lock(path: &Path) -> Result<File> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).at("cannot make the folder", parent)?;
    }
    let path = path.to_owned();
    let wait = move || {
        let file = File::create(&path).at("cannot open the lock", &path)?;
        file.lock().at("cannot lock", &path)?;
        Ok(file)
    };
    tokio::task::spawn_blocking(wait).await.map_err(|e| Error::refused("cannot lock", e))?
}
