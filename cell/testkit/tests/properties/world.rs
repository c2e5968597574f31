//! A site with two tenants in one cell that may ask as much as they like.

use std::sync::Arc;

use testkit::{Admin, ClientSecret, Http, Site, Tenant};

pub struct World {
    pub site: Site,
    pub one: Tenant,
    pub other: Tenant,
}

impl World {
    pub async fn start() -> anyhow::Result<Self> {
        let site = Site::start_as(async |settings| {
            settings.services = "[gateway]\nrequests_per_second = 100000\nrequest_burst = 100000\n".parse()?;
            Ok(())
        })
        .await?;
        let http = Http::new(site.http())?;
        let admin = Admin::sign_in(&http, &ClientSecret::of_administrator(&site)?).await?;
        let one = admin.tenant("one", "one-corp", "shared-1", site.flight()).await?;
        let other = admin.tenant("other", "other-corp", "shared-1", site.flight()).await?;
        Ok(Self { site, one, other })
    }

    pub async fn stop(self: Arc<Self>, passed: bool) {
        self.site.stop(passed).await;
    }
}
