//! A second router of the same site.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use testkit::Http;

use crate::world::World;

/// A router beside the site's own, on ports of its own; ended when dropped.
pub struct Second {
    child: Child,
    _data: tempfile::TempDir,
    pub http: Http,
    pub https: SocketAddr,
    pub admin: SocketAddr,
}

impl Drop for Second {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Second {
    /// `more` stands before everything else of its configuration.
    pub async fn start(world: &World, more: &str) -> anyhow::Result<Self> {
        let own = std::fs::read_to_string(world.site.state().join("router/config.toml"))?;
        let data = tempfile::tempdir()?;
        let mut config = format!("{more}\ndata_dir = {:?}\n", data.path().join("data"));
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
        let [http, https, admin] = found.context("the second router ended")?;
        Ok(Self { child, _data: data, http: Http::new(http)?, https, admin })
    }
}

/// Where it says it listens; what it says afterwards is read and dropped, so that its pipe never fills.
fn addresses(said: impl std::io::Read + Send + 'static) -> Option<[SocketAddr; 3]> {
    let mut lines = BufReader::new(said).lines().map_while(Result::ok);
    let mut found = [None; 3];
    for line in lines.by_ref() {
        let at = |door: &str| line.split_once(&format!("listening door=\"{door}\" address="))?.1.trim().parse().ok();
        for (door, address) in ["http", "https", "admin"].into_iter().zip(&mut found) {
            *address = address.or_else(|| at(door));
        }
        if let [Some(http), Some(https), Some(admin)] = found {
            std::thread::spawn(move || lines.for_each(drop));
            return Some([http, https, admin]);
        }
    }
    None
}
