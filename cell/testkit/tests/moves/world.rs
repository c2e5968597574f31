//! A site, and tenants that may live in either of its cells.

use std::sync::Arc;

use testkit::{Admin, ClientSecret, Http, Site, Tenant, eventually};

use crate::rows;

pub const CELLS: [&str; 2] = ["shared-1", "dedicated-1"];
const ORGANISATION: &str = "movers-corp";

pub struct World {
    pub site: Site,
    pub admin: Admin,
}

/// A tenant and its stream `orders`.
#[derive(Clone)]
pub struct Mobile {
    pub tenant: Tenant,
    pub stream: String,
}

impl World {
    pub async fn start() -> anyhow::Result<Self> {
        let site = Site::start().await?;
        let admin = Admin::sign_in(&Http::new(site.http())?, &ClientSecret::of_administrator(&site)?).await?;
        Ok(Self { site, admin })
    }

    pub async fn stop(self: Arc<Self>, passed: bool) {
        self.site.stop(passed).await;
    }

    /// A new one, whoever has just died.
    pub async fn mobile(&self) -> anyhow::Result<Mobile> {
        eventually("a tenant is made", || async {
            let id = format!("mover-{}", &uuid::Uuid::new_v4().simple().to_string()[..12]);
            let tenant = self.admin.tenant(&id, ORGANISATION, CELLS[0], self.site.flight()).await?;
            let stream = rows::stream(&tenant, "orders").await?;
            Ok(Mobile { tenant, stream })
        })
        .await
    }
}
