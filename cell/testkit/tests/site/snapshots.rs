//! What lies damaged on the disk: router and cell refuse it and start from the last good snapshot, also when there
//! is no global plane to ask.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, ensure};
use testkit::{Tenant, eventually};

use crate::world::{SHARED, World};

/// Where the router keeps each kind; the newest has the greatest name.
const SHELVES: [&str; 2] = ["routing", "keys"];
/// What each process of a cell keeps; the one before is `<name>.1`.
const FEEDS: [&str; 2] = ["placements.json", "jwks.json"];

type Damage = fn(newest: &Path, before: &Path) -> std::io::Result<()>;

const DAMAGES: [(&str, Damage); 5] = [
    ("one bit differs", |newest, _| {
        let mut bytes = std::fs::read(newest)?;
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
        std::fs::write(newest, bytes)
    }),
    ("cut in half", |newest, _| {
        let bytes = std::fs::read(newest)?;
        std::fs::write(newest, &bytes[..bytes.len() / 2])
    }),
    ("empty", |newest, _| std::fs::write(newest, [])),
    // Sparse: longer than every bound, and takes no room.
    ("longer than its bound", |newest, _| std::fs::File::options().write(true).open(newest)?.set_len(2 << 30)),
    ("an older one in its place", |newest, before| std::fs::copy(before, newest).map(drop)),
];

/// A snapshot on disk and the one before it.
struct Kept {
    newest: PathBuf,
    before: PathBuf,
}

impl Kept {
    /// The router's shelf `name`, which must hold two.
    fn shelf(folder: &Path) -> anyhow::Result<Self> {
        let entries = std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path()));
        let mut paths = entries.collect::<Result<Vec<_>, _>>()?;
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "snap"));
        paths.sort();
        let (newest, before) = (paths.pop(), paths.pop());
        let (newest, before) = newest.zip(before).with_context(|| format!("{} holds no two", folder.display()))?;
        Ok(Self { newest, before })
    }

    fn feed(path: PathBuf) -> anyhow::Result<Self> {
        let mut before = path.clone().into_os_string();
        before.push(".1");
        let before = PathBuf::from(before);
        ensure!(path.exists() && before.exists(), "{} has none before it", path.display());
        Ok(Self { newest: path, before })
    }
}

/// Everything router and shared cell keep, each with one before it; tables of both must know the tenant.
fn kept(world: &World, tenant: &Tenant) -> anyhow::Result<Vec<Kept>> {
    let router = world.site.state().join("router/data");
    let mut found = Vec::new();
    for shelf in SHELVES {
        found.push(Kept::shelf(&router.join(shelf))?);
    }
    for folder in feeds(&world.site.cell_dir(SHARED))? {
        for name in FEEDS {
            found.push(Kept::feed(folder.join(name))?);
        }
    }
    ensure!(found.len() > SHELVES.len(), "the cell keeps no snapshots");
    for kept in &found {
        let bytes = std::fs::read(&kept.before)?;
        let (key, id) = (kept.before.to_string_lossy(), tenant.id.as_bytes());
        let knows = key.contains("/routing") || key.contains("/placements");
        let known = knows.then(|| bytes.windows(id.len()).any(|window| window == id));
        ensure!(known.unwrap_or(true), "{key} does not know the tenant yet");
    }
    Ok(found)
}

/// Folders named `feeds` anywhere below.
fn feeds(below: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let (mut found, mut open) = (Vec::new(), vec![below.to_owned()]);
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            match path.file_name().is_some_and(|name| name == "feeds") {
                true => found.push(path),
                false if path.is_dir() && !path.is_symlink() => open.push(path),
                false => {}
            }
        }
    }
    Ok(found)
}

pub async fn damaged_ones_give_way_to_the_last_good_ones(world: Arc<World>) -> anyhow::Result<()> {
    let tenant = world.tenant("lasting").await?;
    // Each start keeps the key set once more, each new tenant the table.
    world.site.restart_cell(SHARED).await?;
    world.site.restart_router().await?;
    world.tenant("later").await?;
    eventually("everything has been kept twice", || async { kept(&world, &tenant).map(drop) }).await?;
    world.site.stop_global().await?;
    let outcome = with_each_damage(&world, &tenant).await;
    world.site.start_global().await?;
    outcome?;
    eventually("the global plane answers again", || async { world.tenant("mended").await.map(drop) }).await
}

async fn with_each_damage(world: &World, tenant: &Tenant) -> anyhow::Result<()> {
    let mut names = world.site.processes("router.router")?;
    names.extend(world.site.processes_of(SHARED)?);
    for (what, damage) in DAMAGES {
        world.site.stop_processes(&names).await?;
        let kept = kept(world, tenant)?;
        let whole = kept.iter().map(|kept| std::fs::read(&kept.newest)).collect::<Result<Vec<_>, _>>()?;
        for kept in &kept {
            damage(&kept.newest, &kept.before).with_context(|| kept.newest.display().to_string())?;
        }
        world.site.start_killed(&names).await.with_context(|| format!("no start with snapshots {what}"))?;
        let me = eventually("the tenant is served", || tenant.get("/api/v1/me")).await.context(what)?;
        ensure!(me["tenant"] == tenant.id.as_str(), "{what}: {me}");
        for (kept, whole) in kept.iter().zip(whole) {
            std::fs::write(&kept.newest, whole)?;
        }
    }
    Ok(())
}
