//! A site with tenants that may live in either of its cells.

use std::sync::Arc;

use testkit::{Admin, ClientSecret, Http, Site, Tenant, eventually};

use crate::rows;

pub const CELLS: [&str; 2] = ["shared-1", "dedicated-1"];
const ORGANISATION: &str = "movers-corp";
const TENANTS: usize = 8;

pub struct World {
    pub site: Site,
    pub admin: Admin,
    pub tenants: Vec<Mobile>,
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
        let http = Http::new(site.http())?;
        let admin = Admin::sign_in(&http, &ClientSecret::of_administrator(&site)?).await?;
        let mut tenants = Vec::new();
        for number in 0..TENANTS {
            let tenant = admin.tenant(&format!("mover-{number}"), ORGANISATION, CELLS[0], site.flight()).await?;
            let stream = rows::stream(&tenant, "orders").await?;
            tenants.push(Mobile { tenant, stream });
        }
        Ok(Self { site, admin, tenants })
    }

    pub async fn stop(self: Arc<Self>, passed: bool) {
        self.site.stop(passed).await;
    }

    /// Tokens live for a quarter of an hour, a case for less.
    pub async fn renew(&self) -> anyhow::Result<()> {
        eventually("everybody signs in", || async {
            self.admin.renew().await?;
            for mobile in &self.tenants {
                mobile.tenant.renew().await?;
            }
            Ok(())
        })
        .await
    }
}
