//! What the process is told.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use contracts::services::ADMIN_PORT;
use kit::config::ConfigError;
use serde::{Deserialize, Serialize};
use trace::Telemetry;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Folder {
    pub dir: PathBuf,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Postgres {
    pub host: IpAddr,
    #[serde(default = "postgres_port")]
    pub port: u16,
    /// Connections to each of the two databases.
    #[serde(default = "connections")]
    pub max_connections: u32,
}

/// Overrides of the services' own defaults.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Services {
    pub identity: identity::Settings,
    pub tenancy: tenancy::Settings,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The address both ports listen on.
    pub address: IpAddr,
    /// HTTPS with mTLS, for routers and cells.
    #[serde(default = "port")]
    pub port: u16,
    /// Plain HTTP for operators: health, readiness, metrics.
    #[serde(default = "admin_port")]
    pub admin_port: u16,
    pub data_dir: PathBuf,
    /// How clients reach this plane, through the router; without a slash at the end.
    pub public_url: String,
    /// A tenant's own host is `<tenant>.<host_suffix>`.
    pub host_suffix: String,
    /// Seconds a stopping process waits for work in flight.
    #[serde(default = "drain_seconds")]
    pub drain_seconds: u64,
    /// `ca.pem` and `global/{cert.pem,key.pem}`.
    pub identity: Folder,
    /// `identity.postgres`, `tenancy.postgres`, `seal.key`, `bootstrap-admin`.
    pub secrets: Folder,
    pub postgres: Postgres,
    #[serde(default)]
    pub telemetry: Telemetry,
    #[serde(default)]
    pub services: Services,
}

fn postgres_port() -> u16 {
    5432
}

fn connections() -> u32 {
    16
}

fn port() -> u16 {
    8443
}

fn admin_port() -> u16 {
    ADMIN_PORT
}

fn drain_seconds() -> u64 {
    10
}

impl Config {
    /// Reads and checks the file; the plane's own names become the services' settings.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let mut config: Self = kit::config::load(path)?;
        config.services.identity.public_url.clone_from(&config.public_url);
        config.services.tenancy.host_suffix.clone_from(&config.host_suffix);
        let invalid = |reason| ConfigError::Parse { path: path.to_owned(), reason };
        config.services.identity.validate().map_err(invalid)?;
        config.services.tenancy.validate().map_err(invalid)?;
        Ok(config)
    }

    pub fn listen(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.port)
    }

    pub fn admin(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.admin_port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMAL: &str = r#"
        address = "127.0.1.1"
        data_dir = "data"
        public_url = "http://global.localhost:8080"
        host_suffix = "localhost"
        identity = { dir = "identity" }
        secrets = { dir = "secrets" }
        postgres = { host = "127.0.1.1" }
    "#;

    #[test]
    fn a_site_says_little_and_an_unknown_key_is_refused() {
        let config: Config = toml::from_str(MINIMAL).unwrap();
        assert_eq!((config.port, config.admin_port, config.postgres.port), (8443, 9100, 5432));
        assert!(toml::from_str::<Config>(&format!("prot = 1\n{MINIMAL}")).is_err());
        assert!(toml::from_str::<Config>(&format!("{MINIMAL}\n[services.identity]\ntoken_second = 1")).is_err());
    }
}
