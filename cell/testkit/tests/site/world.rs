//! What the tests share: a site, and three tenants of which two live in the same cell.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::json;
use testkit::{Admin, ClientSecret, Collector, Http, Site, Tenant, eventually};
use trace::Telemetry;

use crate::rows;

pub const SHARED: &str = "shared-1";
pub const DEDICATED: &str = "dedicated-1";

/// The organisation that has [`DEDICATED`] for itself; the demo's file tenant is of it too.
pub const OWNER: &str = "globex-corp";

/// Of a whole command.
const PATIENCE: Duration = Duration::from_secs(300);

pub struct World {
    pub site: Site,
    /// Every process of the site sends its spans here; only traces that a test began are recorded.
    pub collector: Collector,
    pub admin: Admin,
    pub http: Http,
    /// In [`SHARED`]; has dataset `orders` of 100 rows.
    pub acme: Tenant,
    /// In [`SHARED`] too; has dataset `secrets`, stream `hidden` and a transaction.
    pub neighbour: Tenant,
    /// In [`DEDICATED`]; the same secrets.
    pub globex: Tenant,
    /// Secrets of `neighbour` and `globex`, in that order.
    pub secrets: [Secrets; 2],
}

/// Names of things another tenant must not reach.
#[derive(Debug, Clone)]
pub struct Secrets {
    pub tenant: String,
    pub dataset: String,
    pub transaction: String,
    pub stream: String,
}

impl World {
    pub async fn start() -> anyhow::Result<Self> {
        let mut started = None;
        let site = Site::start_as(async |settings| {
            let collector = Collector::start(settings.addresses.router()).await?;
            settings.telemetry = Telemetry { otlp: Some(collector.url()), sample_ratio: 0.0 };
            started = Some(collector);
            Ok(())
        })
        .await?;
        let collector = started.context("the site was not prepared")?;
        match Self::furnish(&site).await {
            Ok(build) => Ok(build(site, collector)),
            Err(error) => {
                site.stop(false).await;
                Err(error)
            }
        }
    }

    async fn furnish(site: &Site) -> anyhow::Result<impl FnOnce(Site, Collector) -> Self + use<>> {
        let http = Http::new(site.http())?;
        let admin = Admin::sign_in(&http, &ClientSecret::of_administrator(site)?).await?;
        let flight = site.flight();
        let acme = admin.tenant("acme-test", "acme-test-corp", SHARED, flight).await?;
        let neighbour = admin.tenant("neighbour", "neighbour-corp", SHARED, flight).await?;
        let globex = admin.tenant("globex-test", OWNER, DEDICATED, flight).await?;
        let orders = rows::dataset(&acme, "orders").await?;
        rows::upload(&acme, &orders, rows::csv(0, 100)).await?;
        let secrets = [hide(&neighbour).await?, hide(&globex).await?];
        Ok(move |site, collector| Self { site, collector, admin, http, acme, neighbour, globex, secrets })
    }

    pub async fn stop(self: std::sync::Arc<Self>, passed: bool) {
        self.site.stop(passed).await;
    }

    /// Everybody signs in anew, so that no token expires in the middle of a case.
    pub async fn renew(&self) -> anyhow::Result<()> {
        eventually("everybody signs in", || async {
            self.admin.renew().await?;
            for tenant in [&self.acme, &self.neighbour, &self.globex] {
                tenant.renew().await?;
            }
            Ok(())
        })
        .await
    }

    /// A new tenant in the shared cell.
    pub async fn tenant(&self, name: &str) -> anyhow::Result<Tenant> {
        self.tenant_in(name, SHARED).await
    }

    pub async fn tenant_in(&self, name: &str, cell: &str) -> anyhow::Result<Tenant> {
        // Tests run again in the other arrangement: every run has tenants of its own.
        let suffix = uuid::Uuid::new_v4().simple().to_string();
        let id = format!("{name}-{}", suffix.get(..8).unwrap_or_default());
        let own = format!("{id}-corp");
        let organisation = if cell == DEDICATED { OWNER } else { own.as_str() };
        self.admin.tenant(&id, organisation, cell, self.site.flight()).await
    }

    /// What `cyto` says as this site's administrator.
    pub async fn cyto(&self, words: &[&str]) -> anyhow::Result<String> {
        let output = tokio::process::Command::new(testkit::binary("cyto")?)
            .arg("--state")
            .arg(self.site.state())
            .args(words)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(PATIENCE, output).await.context("it does not end")??;
        let said = String::from_utf8(output.stdout)?;
        ensure!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        Ok(said)
    }

    /// The same tenant seen by a new member with `scopes`.
    pub async fn member(&self, tenant: &Tenant, scopes: &[&str]) -> anyhow::Result<Tenant> {
        let user = self.admin.member(&tenant.id, &tenant.organisation, scopes).await?;
        tenant.as_user(user).await
    }
}

async fn hide(tenant: &Tenant) -> anyhow::Result<Secrets> {
    let dataset = rows::dataset(tenant, "secrets").await?;
    let uploaded = rows::upload(tenant, &dataset, rows::csv(0, 10)).await?;
    let view = json!({ "name": "hidden", "schema": { "fields": rows::fields() } });
    let stream = tenant.post("/api/v1/streams", &view).await?;
    let id = |value: &serde_json::Value| value["id"].as_str().map(str::to_owned).context("no id");
    Ok(Secrets { tenant: tenant.id.clone(), dataset, transaction: id(&uploaded)?, stream: id(&stream)? })
}
