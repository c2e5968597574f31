//! Two routers share what a tenant may use.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Http, Tenant, within};

use crate::second::Second;
use crate::world::{OWNER, SHARED, World};

const RATE: u32 = 40;
/// How long the two are asked as fast as they answer.
const LOAD: Duration = Duration::from_secs(8);

/// The tenant's share at a router, as it explains it.
async fn share(admin: SocketAddr, tenant: &Tenant) -> anyhow::Result<f64> {
    let url = format!("http://{admin}/routes/{}.localhost", tenant.id);
    let explained: Value = reqwest::get(url).await?.json().await?;
    explained["decision"]["share"].as_f64().with_context(|| format!("no share in {explained}"))
}

/// Requests that were let in, asked one after the other for a while.
async fn let_in(http: Http, tenant: Tenant, until: Instant) -> anyhow::Result<u32> {
    let mut passed = 0;
    while Instant::now() < until {
        let request = http.request(Method::GET, &tenant.id, "/api/v1/me").bearer_auth(tenant.token());
        match request.send().await?.status().as_u16() {
            200 => passed += 1,
            429 => {}
            other => anyhow::bail!("answered {other}"),
        }
    }
    Ok(passed)
}

/// However a tenant spreads its requests, both routers together let in what its tier says.
pub async fn two_routers_share_one_limit(world: Arc<World>) -> anyhow::Result<()> {
    let suffix = uuid::Uuid::new_v4().simple().to_string();
    let tenant = format!("shared-{}", suffix.get(..8).unwrap_or_default());
    let tenant = world.admin.tenant(&tenant, OWNER, SHARED, world.site.flight()).await?;
    let tier = format!("tight-{}", suffix.get(..8).unwrap_or_default());
    let limits = json!({ "requestsPerSecond": RATE, "requestBurst": RATE, "concurrentRequests": 0, "bytesPerSecond": 0, "byteBurst": 0 });
    world.admin.call(Method::PUT, &format!("/api/v1/tiers/{tier}"), Some(limits)).await?.good()?;
    let path = format!("/api/v1/tenants/{}/tier", tenant.id);
    world.admin.call(Method::PUT, &path, Some(json!({ "tier": tier }))).await?.good()?;
    let second = Second::start(&world, "").await?;
    let first_admin = SocketAddr::new(world.site.http().ip(), stack::addresses::ROUTER_ADMIN_PORT);
    let patience = Duration::from_secs(60);
    within(patience, "both have half", || async {
        let shares = (share(first_admin, &tenant).await?, share(second.admin, &tenant).await?);
        ensure!(shares == (0.5, 0.5), "{shares:?}");
        Ok(())
    })
    .await?;
    // Both pressed alike, then one of them alone.
    let until = Instant::now() + LOAD;
    let (left, right) = tokio::try_join!(
        let_in(world.http.clone(), tenant.clone(), until),
        let_in(second.http.clone(), tenant.clone(), until)
    )?;
    // Each second's worth, and the burst with which it began.
    let most = RATE * (LOAD.as_secs() as u32 + 1) + 2;
    println!("    both routers let in {left} and {right} of {most}");
    ensure!(left + right <= most, "{left} and {right} are more than {most}");
    ensure!(left + right >= most * 8 / 10, "{left} and {right} of {most}");
    let alone = let_in(second.http.clone(), tenant.clone(), Instant::now() + LOAD).await?;
    println!("    one of them alone {alone}, its share is then {}", share(second.admin, &tenant).await?);
    ensure!(alone <= most && alone >= most * 7 / 10, "{alone} of {most}");
    // The one that is gone leaves its share to the other.
    drop(second);
    within(patience, "the other has the whole", || async {
        let share = share(first_admin, &tenant).await?;
        ensure!(share == 1.0, "{share}");
        Ok(())
    })
    .await
}
