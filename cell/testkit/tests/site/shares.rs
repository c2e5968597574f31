//! Two routers share what a tenant may use.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Http, Tenant, within};

use crate::world::{OWNER, SHARED, World};

const RATE: u32 = 40;
/// How long the two are asked as fast as they answer.
const LOAD: Duration = Duration::from_secs(8);

/// A router beside the site's own, on ports of its own; ended when dropped.
struct Second {
    child: Child,
    _data: tempfile::TempDir,
    http: Http,
    admin: SocketAddr,
}

impl Drop for Second {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Second {
    async fn start(world: &World) -> anyhow::Result<Self> {
        let own = std::fs::read_to_string(world.site.state().join("router/config.toml"))?;
        let data = tempfile::tempdir()?;
        let mut config = format!("data_dir = {:?}\n", data.path().join("data"));
        for line in own.lines().filter(|line| !line.starts_with("data_dir")) {
            let is_listener =
                ["http = ", "https = ", "flight = ", "admin = "].iter().any(|name| line.starts_with(name));
            match line.rsplit_once(':') {
                Some((address, _)) if is_listener => config.push_str(&format!("{address}:0\"\n")),
                _ => config.push_str(&format!("{line}\n")),
            }
        }
        let path = data.path().join("config.toml");
        std::fs::write(&path, config)?;
        let mut command = Command::new(testkit::binary("router")?);
        command.arg("--config").arg(&path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let said = child.stderr.take().context("no stderr")?;
        let found = tokio::task::spawn_blocking(move || addresses(said));
        let found = tokio::time::timeout(Duration::from_secs(60), found).await.context("it does not listen")??;
        let (http, admin) = found.context("the second router ended")?;
        Ok(Self { child, _data: data, http: Http::new(http)?, admin })
    }
}

/// Where it says it listens; what it says afterwards is read and dropped, so that its pipe never fills.
fn addresses(said: impl std::io::Read + Send + 'static) -> Option<(SocketAddr, SocketAddr)> {
    let mut lines = BufReader::new(said).lines().map_while(Result::ok);
    let (mut http, mut admin) = (None, None);
    for line in lines.by_ref() {
        let at = |door: &str| line.split_once(&format!("listening door=\"{door}\" address="))?.1.trim().parse().ok();
        (http, admin) = (http.or_else(|| at("http")), admin.or_else(|| at("admin")));
        if let (Some(http), Some(admin)) = (http, admin) {
            std::thread::spawn(move || lines.for_each(drop));
            return Some((http, admin));
        }
    }
    None
}

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
    let second = Second::start(&world).await?;
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
