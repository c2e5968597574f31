//! A cell's own router, at which its tenants' TLS ends.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use reqwest::{Certificate, Client, Method};
use serde_json::{Value, json};
use testkit::{Answer, Tenant, within};

use crate::second::Second;
use crate::world::{DEDICATED, World};

const PATIENCE: Duration = Duration::from_secs(60);

/// The tenant's domain at the site's router, for a client that trusts the certificate of the cell's own.
struct Domain {
    client: Client,
    url: String,
}

impl Domain {
    fn new(host: &str, at: SocketAddr, certificate: &str) -> anyhow::Result<Self> {
        let root = Certificate::from_pem(certificate.as_bytes())?;
        // Every request over a connection of its own: one that is open stays where it leads.
        let client =
            Client::builder().no_proxy().add_root_certificate(root).resolve(host, at).pool_max_idle_per_host(0);
        Ok(Self { client: client.build()?, url: format!("https://{host}:{}/api/v1/me", at.port()) })
    }

    async fn ask(&self, token: &str) -> anyhow::Result<Answer> {
        Answer::of(self.client.get(&self.url).bearer_auth(token)).await
    }
}

async fn has_host(world: &World, tenant: &Tenant, host: &str) -> anyhow::Result<()> {
    let path = format!("/api/v1/tenants/{}/hosts", tenant.id);
    world.admin.call(Method::POST, &path, Some(json!({ "host": host }))).await?.good()?;
    Ok(())
}

/// The site's router sees nothing of it but bytes.
pub async fn a_tenants_tls_ends_in_its_cells_own_router(world: Arc<World>) -> anyhow::Result<()> {
    let tenant = world.tenant_in("owned", DEDICATED).await?;
    let host = format!("data.{}.example", tenant.id);
    has_host(&world, &tenant, &host).await?;
    let made = rcgen::generate_simple_self_signed([host.clone()])?;
    let names = tempfile::tempdir()?;
    let folder = names.path().join(&host);
    std::fs::create_dir(&folder)?;
    std::fs::write(folder.join("cert.pem"), made.cert.pem())?;
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem())?;
    let own = Second::start(&world, &format!("tls.names = {:?}", names.path())).await?;
    let door = own.https.to_string();
    world.cyto(&["cell", "set", DEDICATED, "--door", &door]).await?;

    let site = SocketAddr::new(world.site.http().ip(), stack::addresses::ROUTER_HTTPS_PORT);
    let domain = Domain::new(&host, site, &made.cert.pem())?;
    let me: Value = within(PATIENCE, "the domain leads to the cell's own router", || async {
        domain.ask(&tenant.token()).await?.good()
    })
    .await?;
    ensure!(me["tenant"] == tenant.id.as_str() && me["cell"] == DEDICATED, "{me}");
    domain.ask(&world.acme.token()).await?.refused(&[403])?;
    // A router that is gone takes its own tenants' connections with it, and nobody else's.
    drop(own);
    ensure!(domain.ask(&tenant.token()).await.is_err(), "answered by nobody");
    ensure!(world.acme.get("/api/v1/me").await?["tenant"] == world.acme.id.as_str());
    world.cyto(&["cell", "set", DEDICATED, "--door", ""]).await?;
    Ok(())
}
