//! Configuration: one TOML file, unknown keys refused, secrets by file.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use contracts::CellId;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use trace::Telemetry;

use crate::Secret;

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{path} cannot be read")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{path} is not valid: {reason}")]
    Parse { path: PathBuf, reason: String },
}

/// Reads a TOML file into `T`. `T` and its parts refuse unknown keys.
pub fn load<T: DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    toml::from_str(&text)
        .map_err(|error| ConfigError::Parse { path: path.to_owned(), reason: error.message().to_owned() })
}

/// A service's own settings: read and checked before it starts.
pub trait Settings: DeserializeOwned {
    fn validate(&self) -> Result<(), SettingsError>;
}

/// A setting that cannot work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("setting {name} is not valid: {reason}")]
pub struct SettingsError {
    pub name: &'static str,
    pub reason: &'static str,
}

/// Refuses the first of the named numbers that is zero.
pub fn positive(numbers: &[(&'static str, u64)]) -> Result<(), SettingsError> {
    match numbers.iter().find(|(_, number)| *number == 0) {
        Some((name, _)) => Err(SettingsError { name, reason: "it has to be greater than zero" }),
        None => Ok(()),
    }
}

/// A folder of secrets, one file each, mode 0600.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretsConfig {
    pub dir: PathBuf,
}

impl SecretsConfig {
    pub fn read(&self, name: &str) -> Result<Secret, ConfigError> {
        let path = self.dir.join(name);
        Secret::read(&path).map_err(|source| ConfigError::Read { path, source })
    }
}

/// `ca.pem` and `<service>/{cert.pem,key.pem}`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityConfig {
    pub dir: PathBuf,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostgresConfig {
    pub host: String,
    #[serde(default = "default_postgres_port")]
    pub port: u16,
}

fn default_postgres_port() -> u16 {
    5432
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaConfig {
    /// `host:port`, comma separated.
    pub bootstrap: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NatsConfig {
    /// `nats://host:port`.
    pub url: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BucketConfig {
    pub endpoint: String,
    pub region: String,
    pub name: String,
    pub access_key: String,
    /// Role that may be assumed for prefix-scoped credentials.
    #[serde(default)]
    pub role_arn: Option<String>,
}

/// Everything a cell's process is told.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CellConfig {
    pub cell: CellId,
    pub address: IpAddr,
    pub data_dir: PathBuf,
    /// The global plane's internal address, `https://ip:port`.
    pub global_url: String,
    pub identity: IdentityConfig,
    pub secrets: SecretsConfig,
    pub postgres: PostgresConfig,
    pub kafka: KafkaConfig,
    pub nats: NatsConfig,
    pub bucket: BucketConfig,
    #[serde(default)]
    pub telemetry: Telemetry,
    /// Seconds a stopping process waits for work in flight.
    #[serde(default = "default_drain_seconds")]
    pub drain_seconds: u64,
    /// Overrides of services' own defaults, by service name.
    #[serde(default)]
    pub services: toml::Table,
}

fn default_drain_seconds() -> u64 {
    20
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        let dir = std::env::temp_dir().join(format!("kit-config-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("config.toml");
        std::fs::write(&path, "host = \"127.0.0.1\"\nprot = 1\n").unwrap();
        let error = load::<PostgresConfig>(&path).unwrap_err();
        std::fs::remove_dir_all(&dir).unwrap();
        assert!(error.to_string().contains("prot"), "{error}");
    }
}
