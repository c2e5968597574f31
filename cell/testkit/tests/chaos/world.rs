//! A site of which the shared cell stands behind proxies and on small disks.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use parking_lot::Mutex;
use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use stack::site::{Detours, Settings};
use testkit::{Admin, ClientSecret, Http, Proxy, Site, Tenant, eventually};

use crate::fault::{Dependency, Fault};

pub const SHARED: &str = "shared-1";
const DEDICATED: &str = "dedicated-1";
/// Small enough to be filled in a moment.
const DISK: &str = "size=768m";

pub struct World {
    pub site: Site,
    pub ways: Ways,
    pub admin: Admin,
    /// In the cell that is broken.
    pub here: Tenant,
    /// In the other one.
    pub there: Tenant,
    disks: Disks,
    postgres: SocketAddr,
    outcomes: Mutex<Vec<Outcome>>,
}

/// Proxies between the shared cell and what it needs.
pub struct Ways {
    pub postgres: Proxy,
    pub nats: Proxy,
    pub bucket: Proxy,
    pub global: Proxy,
}

/// What a case came to.
#[derive(Debug)]
pub struct Outcome {
    pub on: Dependency,
    pub fault: Fault,
    pub recovery: Duration,
    pub rows: usize,
    pub calls: u64,
    pub failed: usize,
    pub slowest: Duration,
    /// Failed calls in the other cell.
    pub other: usize,
}

/// File systems of their own, one under each folder; taken away when dropped.
#[derive(Default)]
struct Disks(Vec<PathBuf>);

impl Disks {
    /// Those of a run that was killed stand in the way of removing its folder.
    fn take_away_leftovers() {
        let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
        for folder in mounts.lines().filter_map(|line| line.split(' ').nth(1)) {
            let Some((_, rest)) = folder.split_once("/cytoplane-test-") else { continue };
            let alive = rest.split('/').next().is_some_and(|pid| Path::new("/proc").join(pid).exists());
            if !alive {
                let _ = std::process::Command::new("umount").arg("-l").arg(folder).status();
            }
        }
    }

    /// Needs root.
    fn mount(&mut self, folder: PathBuf) -> anyhow::Result<()> {
        std::fs::create_dir_all(&folder)?;
        let mounted =
            std::process::Command::new("mount").args(["-t", "tmpfs", "-o", DISK, "tmpfs"]).arg(&folder).output()?;
        ensure!(
            mounted.status.success(),
            "no disk for {}: {}",
            folder.display(),
            String::from_utf8_lossy(&mounted.stderr)
        );
        self.0.push(folder);
        Ok(())
    }
}

impl Drop for Disks {
    fn drop(&mut self) {
        for folder in &self.0 {
            let _ = std::process::Command::new("umount").arg("-l").arg(folder).status();
        }
    }
}

impl World {
    pub async fn start() -> anyhow::Result<Self> {
        Disks::take_away_leftovers();
        let (mut disks, mut ways, mut postgres) = (Disks::default(), None, None);
        let site = Site::start_as(async |settings: &mut Settings| {
            for folder in
                ["cells/shared-1/postgres", "cells/shared-1/nats", "cells/shared-1/kafka", "cells/shared-1/data"]
            {
                disks.mount(settings.state.join(folder))?;
            }
            for folder in ["global/postgres", "router/data"] {
                disks.mount(settings.state.join(folder))?;
            }
            let (made, detours, at) = Ways::lay(settings).await?;
            settings.detours.insert(SHARED.to_owned(), detours);
            (ways, postgres) = (Some(made), Some(at));
            Ok(())
        })
        .await?;
        let http = Http::new(site.http())?;
        let admin = Admin::sign_in(&http, &ClientSecret::of_administrator(&site)?).await?;
        let here = admin.tenant("here", "here-corp", SHARED, site.flight()).await?;
        let there = admin.tenant("there", "globex-corp", DEDICATED, site.flight()).await?;
        let (ways, postgres) = (ways.context("no proxies")?, postgres.context("no Postgres")?);
        Ok(Self { site, ways, admin, here, there, disks, postgres, outcomes: Mutex::default() })
    }

    /// Writes the table of what was seen where `CYTO_EVIDENCE` says.
    pub async fn stop(self: Arc<Self>, passed: bool) {
        let table = table(&self.outcomes.lock());
        println!("{table}");
        if let Some(path) = std::env::var_os("CYTO_EVIDENCE") {
            let written = std::fs::write(&path, table);
            println!(
                "{}: {}",
                Path::new(&path).display(),
                written.map_or_else(|e| e.to_string(), |()| "written".into())
            );
        }
        self.site.stop(passed).await;
    }

    pub fn note(&self, outcome: Outcome) {
        self.outcomes.lock().push(outcome);
    }

    pub async fn renew(&self) -> anyhow::Result<()> {
        eventually("everybody signs in", || async {
            self.admin.renew().await?;
            self.here.renew().await?;
            self.there.renew().await
        })
        .await
    }

    /// The file system a dependency writes to; the global plane's is that of its database.
    pub fn disk(&self, on: Dependency) -> Option<PathBuf> {
        let folder = match on {
            Dependency::Postgres => "cells/shared-1/postgres",
            Dependency::Nats => "cells/shared-1/nats",
            Dependency::Kafka => "cells/shared-1/kafka",
            Dependency::Cell => "cells/shared-1/data",
            Dependency::Global => "global/postgres",
            Dependency::Router => "router/data",
            Dependency::Bucket | Dependency::Catalog => return None,
        };
        self.disks.0.iter().find(|disk| disk.ends_with(folder)).cloned()
    }

    /// Empties what a process of ours keeps only to start without others; the servers' files are no caches.
    pub fn forget_caches(&self, on: Dependency) -> anyhow::Result<()> {
        let folder = match on {
            Dependency::Cell => "cells/shared-1/data",
            Dependency::Router => "router/data",
            Dependency::Global => "global/data",
            _ => return Ok(()),
        };
        for entry in std::fs::read_dir(self.site.state().join(folder))? {
            let path = entry?.path();
            if path.is_dir() { std::fs::remove_dir_all(path)? } else { std::fs::remove_file(path)? }
        }
        Ok(())
    }

    /// Kafka and Postgres end themselves rather than go on without their disk.
    pub async fn start_what_a_full_disk_ended(&self, cell: &str) -> anyhow::Result<()> {
        for name in
            [format!("{cell}.kafka"), format!("{cell}.postgres"), format!("{cell}.nats"), "global.postgres".to_owned()]
        {
            if self.site.has_ended(&name)? {
                self.site.start_killed(&[name]).await?;
            }
        }
        Ok(())
    }

    /// As the superuser, past every proxy.
    pub async fn postgres(&self) -> anyhow::Result<PgConnection> {
        let password = std::fs::read_to_string(self.site.cell_dir(SHARED).join("secrets/admin.postgres"))?;
        let options = PgConnectOptions::new_without_pgpass()
            .host(&self.postgres.ip().to_string())
            .port(self.postgres.port())
            .username("postgres")
            .database("postgres")
            .password(password.trim());
        Ok(options.connect().await?)
    }
}

impl Ways {
    async fn lay(settings: &Settings) -> anyhow::Result<(Self, Detours, SocketAddr)> {
        use stack::addresses::{GLOBAL_PORT, NATS_PORT, POSTGRES_PORT, RGW_PORT};
        let (cell, addresses) = (settings.addresses.cell(1), settings.addresses);
        // On the target's own address: certificates name it.
        let way = async |ip, port| Proxy::start(ip, SocketAddr::new(ip, port)).await;
        let ways = Self {
            postgres: way(cell, POSTGRES_PORT).await?,
            nats: way(cell, NATS_PORT).await?,
            bucket: way(addresses.ceph(), RGW_PORT).await?,
            global: way(addresses.global(), GLOBAL_PORT).await?,
        };
        let detours = Detours {
            postgres: Some(ways.postgres.address()),
            nats: Some(ways.nats.address()),
            bucket: Some(ways.bucket.address()),
            global: Some(ways.global.address()),
        };
        Ok((ways, detours, SocketAddr::new(cell, POSTGRES_PORT)))
    }
}

fn table(outcomes: &[Outcome]) -> String {
    let mut text = String::from(
        "| broken | how | recovered after | calls under load | failed | slowest call | rows, each once | failed in the other cell |\n|---|---|---|---|---|---|---|---|\n",
    );
    for o in outcomes {
        let (on, fault) = (format!("{:?}", o.on).to_lowercase(), format!("{:?}", o.fault).to_lowercase());
        let _ = writeln!(
            text,
            "| {on} | {fault} | {:.1} s | {} | {} | {:.1} s | {} | {} |",
            o.recovery.as_secs_f64(),
            o.calls,
            o.failed,
            o.slowest.as_secs_f64(),
            o.rows,
            o.other
        );
    }
    text
}
