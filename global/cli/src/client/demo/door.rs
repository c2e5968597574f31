//! The way in: tenants, their machine users, and one connection each for HTTP and SQL.

use anyhow::{Context, bail};
use reqwest::StatusCode;

use super::super::api::{Api, ApiError};
use super::super::credential::{self, Credential};
use super::super::global::{Global, NewTenant, Tenant};
use super::super::site::Site;
use super::super::sql::Session;
use super::super::tenant_api::TenantApi;
use crate::place::Place;
use std::time::{Duration, Instant};

/// A tenant the demo may act for.
pub struct Door {
    pub tenant: Tenant,
    pub api: TenantApi,
    pub sql: Session,
}

/// A new tenant is known everywhere within a fraction of a second; beyond this something is broken.
const ARRIVAL: Duration = Duration::from_secs(30);

/// Creates what is missing and proves that the tenant can be reached at its own host.
pub async fn open(place: &Place, site: &Site, api: &Api, tenant: &str, cell: &str) -> anyhow::Result<Door> {
    let organisation = format!("{tenant}-corp");
    let admin = Credential::secret(api, credential::bootstrap_admin(place)?, None);
    let global = Global::new(api, admin);
    global.ensure_organisation(&organisation, &organisation).await?;
    let placed = global
        .ensure_tenant(&NewTenant { id: tenant, organisation: &organisation, cell: Some(cell), ..NewTenant::default() })
        .await?;
    let credential = machine(place, api, &global, tenant, &organisation).await?;
    let door = TenantApi::new(api, credential.clone(), tenant);
    wait_until_known(&door, cell).await?;
    let sql = Session::connect(site, credential).await.context("the SQL edge cannot be reached through the router")?;
    Ok(Door { tenant: placed, api: door, sql })
}

/// The machine user of an earlier run, if it is still good, else a new one.
async fn machine(
    place: &Place,
    api: &Api,
    global: &Global,
    tenant: &str,
    organisation: &str,
) -> anyhow::Result<Credential> {
    if let Some(secret) = credential::load_machine(place, tenant) {
        let known = Credential::secret(api, secret, Some(tenant));
        match known.token().await {
            Ok(_) => return Ok(known),
            Err(ApiError::Refused { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let secret = global.machine_user(&format!("demo-{tenant}"), organisation, tenant, &["*".to_owned()]).await?;
    credential::save_machine(place, tenant, &secret)?;
    let fresh = Credential::secret(api, secret, Some(tenant));
    fresh.token().await?;
    Ok(fresh)
}

/// The placement travels to the router and the cell by their feeds; asks until both know it.
async fn wait_until_known(door: &TenantApi, cell: &str) -> anyhow::Result<()> {
    let deadline = Instant::now() + ARRIVAL;
    loop {
        let refused = match door.get::<serde_json::Value>("reach the tenant", "/api/v1/me").await {
            Ok(me) if me["cell"] == cell => return Ok(()),
            Ok(me) => bail!("the router sent us to cell {} instead of {cell}", me["cell"]),
            Err(error) => error,
        };
        let may_pass = matches!(refused.status(), Some(s) if s.is_server_error() || [
            StatusCode::NOT_FOUND, StatusCode::MISDIRECTED_REQUEST, StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN,
        ].contains(&s));
        if !may_pass || Instant::now() >= deadline {
            return Err(refused.into());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
