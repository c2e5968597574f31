//! The configuration file: defaults that work on a laptop, unknown keys refused.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use contracts::GroupId;
use serde::{Deserialize, Deserializer};
use trace::Telemetry;

mod limits;

pub use limits::{Limits, TenantLimits};

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path}: {source}")]
    Parse { path: PathBuf, source: Box<toml::de::Error> },
    #[error("{key}: {reason}")]
    Invalid { key: &'static str, reason: String },
}

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Snapshots of the routing table, the keys and the revocations.
    pub data_dir: PathBuf,
    /// `https://<ip>:<port>` of the global plane. An IP literal, so that no name service stands
    /// between the router and its feeds; the certificate's name is pinned all the same.
    pub global_url: String,
    /// Hosts whose traffic goes to the global plane.
    pub global_hosts: Vec<String>,
    /// Hosts below this suffix belong to tenants by name: an unknown one is 404, never placed by token.
    pub tenant_host_suffix: String,
    /// Its group of routers; without one it serves every tenant.
    pub group: Option<GroupId>,
    /// Longest wait for requests in flight after SIGTERM.
    pub drain_seconds: u64,
    /// Worker threads of each listening service.
    pub threads: usize,
    /// tracing filter for diagnostics; `RUST_LOG` wins.
    pub log: String,
    pub identity: Identity,
    pub listen: Listen,
    pub tls: Tls,
    pub limits: Limits,
    pub tokens: Tokens,
    pub feed: Feed,
    pub discovery: Discovery,
    pub telemetry: Telemetry,
}

/// mTLS identity: `ca.pem`, `router/cert.pem`, `router/key.pem`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Identity {
    pub dir: PathBuf,
}

/// Listening addresses; an empty text turns a listener off.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Listen {
    #[serde(deserialize_with = "optional_address")]
    pub http: Option<SocketAddr>,
    #[serde(deserialize_with = "optional_address")]
    pub https: Option<SocketAddr>,
    #[serde(deserialize_with = "optional_address")]
    pub flight: Option<SocketAddr>,
    #[serde(deserialize_with = "optional_address")]
    pub flight_tls: Option<SocketAddr>,
    pub admin: SocketAddr,
}

/// Certificate shown to clients; the router's own identity when left out.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
    /// Folder of other names' certificates: `<name>/cert.pem` and `<name>/key.pem`, `*.` in front for a wildcard.
    pub names: Option<PathBuf>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tokens {
    /// Clock difference allowed in `iat`, `nbf` and `exp`.
    pub leeway_seconds: i64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Feed {
    /// A feed without a line for this long is reconnected.
    pub routing_stale_seconds: u64,
    /// Pause between two fetches of the keys.
    pub jwks_seconds: u64,
    /// Pause before the revocations are followed again after their stream ended.
    pub revocations_seconds: u64,
}

/// Where names of cells are asked for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Discovery {
    /// `ip:port` of name servers; none: the system's own.
    pub servers: Vec<SocketAddr>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::new(),
            global_url: "https://127.0.1.1:8443".into(),
            global_hosts: vec!["global.localhost".into(), "localhost".into()],
            tenant_host_suffix: "localhost".into(),
            group: None,
            drain_seconds: 30,
            threads: 2,
            log: "info".into(),
            identity: Identity::default(),
            listen: Listen::default(),
            tls: Tls::default(),
            limits: Limits::default(),
            tokens: Tokens { leeway_seconds: 5 },
            feed: Feed { routing_stale_seconds: 15, jwks_seconds: 30, revocations_seconds: 2 },
            discovery: Discovery::default(),
            telemetry: Telemetry::default(),
        }
    }
}

impl Default for Listen {
    fn default() -> Self {
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Self {
            http: Some(local(8080)),
            https: Some(local(8443)),
            flight: Some(local(50133)),
            flight_tls: None,
            admin: local(9090),
        }
    }
}

impl Default for Tokens {
    fn default() -> Self {
        Config::default().tokens
    }
}

impl Default for Feed {
    fn default() -> Self {
        Config::default().feed
    }
}

impl Config {
    /// Reads, completes and checks a file. Relative paths are relative to the file's folder.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.into(), source })?;
        let mut config = Self::parse(&text).map_err(|source| ConfigError::Parse { path: path.into(), source })?;
        let folder = path.parent().unwrap_or(Path::new("."));
        for relative in [&mut config.data_dir, &mut config.identity.dir] {
            if !relative.as_os_str().is_empty() {
                *relative = folder.join(&relative);
            }
        }
        for relative in [&mut config.tls.cert, &mut config.tls.key, &mut config.tls.names].into_iter().flatten() {
            *relative = folder.join(&relative);
        }
        config.validate()?;
        Ok(config)
    }

    pub fn parse(text: &str) -> Result<Self, Box<toml::de::Error>> {
        toml::from_str(text).map_err(Box::new)
    }

    /// Address behind `global_url`.
    pub fn global_address(&self) -> Result<SocketAddr, ConfigError> {
        let address = self.global_url.strip_prefix("https://").map(|rest| rest.trim_end_matches('/'));
        address.and_then(|text| text.parse().ok()).ok_or_else(|| ConfigError::Invalid {
            key: "global_url",
            reason: format!("{:?} is not https://<ip>:<port>", self.global_url),
        })
    }

    /// Files of the certificate shown to clients.
    pub fn server_certificate(&self) -> (PathBuf, PathBuf) {
        let own = |name: &str| self.identity.dir.join("router").join(name);
        let cert = self.tls.cert.clone().unwrap_or_else(|| own("cert.pem"));
        let key = self.tls.key.clone().unwrap_or_else(|| own("key.pem"));
        (cert, key)
    }

    pub fn validate(&self) -> Result<(), ConfigError> {
        let refuse = |key, reason: &str| Err(ConfigError::Invalid { key, reason: reason.into() });
        if self.data_dir.as_os_str().is_empty() {
            return refuse("data_dir", "is required");
        }
        if self.identity.dir.as_os_str().is_empty() {
            return refuse("identity.dir", "is required");
        }
        if self.tls.cert.is_some() != self.tls.key.is_some() {
            return refuse("tls", "cert and key belong together");
        }
        if self.threads == 0 || self.threads > 256 {
            return refuse("threads", "is 1 to 256");
        }
        self.global_address()?;
        self.validate_hosts()?;
        self.validate_listeners()?;
        self.telemetry.validate().map_err(|e| ConfigError::Invalid { key: "telemetry", reason: e.to_string() })?;
        self.validate_numbers()
    }

    fn validate_hosts(&self) -> Result<(), ConfigError> {
        let hosts = self.global_hosts.iter().chain([&self.tenant_host_suffix]);
        for host in hosts {
            if crate::target::host_of(host.as_bytes()).as_deref() != Some(host.as_str()) {
                return Err(ConfigError::Invalid {
                    key: "global_hosts, tenant_host_suffix",
                    reason: format!("{host:?} is not a lower-case host name without a port"),
                });
            }
        }
        Ok(())
    }

    fn validate_listeners(&self) -> Result<(), ConfigError> {
        let mut seen: Vec<SocketAddr> = Vec::new();
        let listen = &self.listen;
        let all = [listen.http, listen.https, listen.flight, listen.flight_tls, Some(listen.admin)];
        for address in all.into_iter().flatten() {
            if address.port() != 0 && seen.contains(&address) {
                return Err(ConfigError::Invalid { key: "listen", reason: format!("{address} is used twice") });
            }
            seen.push(address);
        }
        if seen.len() == 1 {
            return Err(ConfigError::Invalid { key: "listen", reason: "every listener is off".into() });
        }
        Ok(())
    }

    fn validate_numbers(&self) -> Result<(), ConfigError> {
        if !self.limits.tenant.is_sound() {
            let reason = "a rate needs a burst of at least 1".to_owned();
            return Err(ConfigError::Invalid { key: "limits.tenant", reason });
        }
        let ranges = [
            ("drain_seconds", self.drain_seconds, 0, 3600),
            ("feed.routing_stale_seconds", self.feed.routing_stale_seconds, 1, 3600),
            ("feed.jwks_seconds", self.feed.jwks_seconds, 1, 3600),
            ("feed.revocations_seconds", self.feed.revocations_seconds, 1, 3600),
            ("tokens.leeway_seconds", self.tokens.leeway_seconds.unsigned_abs(), 0, 60),
        ];
        for (key, value, least, most) in ranges.into_iter().chain(self.limits.ranges()) {
            if value < least || value > most {
                return Err(ConfigError::Invalid { key, reason: format!("{value} is outside {least} to {most}") });
            }
        }
        Ok(())
    }
}

fn optional_address<'de, D: Deserializer<'de>>(input: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(input)?;
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| serde::de::Error::custom(format!("{text:?} is not an ip:port")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "data_dir = 'd'\n[identity]\ndir = 'i'\n";

    #[test]
    fn the_least_file_is_complete() {
        let config = Config::parse(LEAST).unwrap();
        config.validate().unwrap();
        assert_eq!(config.listen.http, Some("127.0.0.1:8080".parse().unwrap()));
        assert_eq!(config.server_certificate().0, Path::new("i/router/cert.pem"));
    }

    #[test]
    fn wrong_files_are_refused() {
        for wrong in
            ["dta_dir = 'x'", "[limits]\nheader_byte = 3", "[listen]\nhttp = 'here'", "[listen]\nhttp = ':8080'"]
        {
            assert!(Config::parse(wrong).is_err(), "{wrong}");
        }
        let invalid = [
            "",
            "data_dir = 'd'",
            "data_dir = 'd'\nglobal_url = 'http://127.0.0.1:1'\n[identity]\ndir = 'i'",
            "data_dir = 'd'\nglobal_url = 'https://global:1'\n[identity]\ndir = 'i'",
            "data_dir = 'd'\nthreads = 0\n[identity]\ndir = 'i'",
            "data_dir = 'd'\nglobal_hosts = ['A.b']\n[identity]\ndir = 'i'",
            "data_dir = 'd'\n[identity]\ndir = 'i'\n[listen]\nhttp = '127.0.0.1:9090'",
            "data_dir = 'd'\n[identity]\ndir = 'i'\n[tls]\ncert = 'c'",
            "data_dir = 'd'\n[identity]\ndir = 'i'\n[limits]\nheader_seconds = 0",
            "data_dir = 'd'\n[identity]\ndir = 'i'\n[limits.tenant]\nbytes_per_second = 1",
        ];
        for wrong in invalid {
            assert!(Config::parse(wrong).unwrap().validate().is_err(), "{wrong}");
        }
    }
}
