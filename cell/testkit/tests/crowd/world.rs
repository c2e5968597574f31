//! A site whose tenants may do little, and two tenants of one cell.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use testkit::{Admin, ClientSecret, Http, Site, Tenant, eventually};

pub const SHARED: &str = "shared-1";
/// Requests a tenant may make in a second.
pub const REQUESTS: u32 = 10;
/// Statements a tenant may run at the same time.
pub const STATEMENTS: u32 = 4;

pub struct World {
    pub site: Site,
    pub admin: Admin,
    pub crowd: Tenant,
    pub neighbour: Tenant,
}

impl World {
    pub async fn start() -> anyhow::Result<Self> {
        let site = Site::start_as(async |settings| {
            let text = format!(
                "[gateway]\nrequests_per_second = {REQUESTS}\nrequest_burst = {}\n[sql-bi-gateway]\ntenant_statements = {STATEMENTS}\n",
                REQUESTS * 2
            );
            settings.services = text.parse()?;
            Ok(())
        })
        .await?;
        let http = Http::new(site.http())?;
        let admin = Admin::sign_in(&http, &ClientSecret::of_administrator(&site)?).await?;
        let crowd = admin.tenant("crowd", "crowd-corp", SHARED, site.flight()).await?;
        let neighbour = admin.tenant("neighbour", "neighbour-corp", SHARED, site.flight()).await?;
        Ok(Self { site, admin, crowd, neighbour })
    }

    pub async fn stop(self: Arc<Self>, passed: bool) {
        self.site.stop(passed).await;
    }

    pub async fn renew(&self) -> anyhow::Result<()> {
        eventually("everybody signs in", || async {
            self.admin.renew().await?;
            self.crowd.renew().await?;
            self.neighbour.renew().await
        })
        .await
    }

    /// Proportional memory of the cell's process, in MiB.
    pub fn memory_mib(&self) -> anyhow::Result<u64> {
        let pid = std::fs::read_to_string(self.site.state().join("run/shared-1.cell.pid"))?;
        let pid = pid.split_whitespace().next().context("no pid")?.to_owned();
        let text = std::fs::read_to_string(Path::new("/proc").join(pid).join("smaps_rollup"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).context("no Pss")?;
        Ok(line.trim().trim_end_matches("kB").trim().parse::<u64>()? / 1024)
    }
}
