//! Identity and tenancy on their databases.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::Arc;

use identity::Identity;
use kit::Secret;
use kit::database::{Database, DatabaseAddress};
use rand::TryRngCore as _;
use sqlx::PgPool;
use tenancy::Tenancy;

use crate::command::Failure;
use crate::config::Config;
use crate::glue::{IdentitySigner, Tenants};

const SEAL_KEY: &str = "seal.key";

/// One database and one role for each service.
pub struct Databases {
    pub identity: PgPool,
    pub tenancy: PgPool,
}

impl Databases {
    /// Connections are opened when first needed.
    pub fn connect(config: &Config) -> Result<Self, Failure> {
        let pool = |service: &str| -> Result<PgPool, Failure> {
            let address = DatabaseAddress {
                host: config.postgres.host,
                port: config.postgres.port,
                service: service.to_owned(),
                password: secret(config, &format!("{service}.postgres"))?,
                max_connections: config.postgres.max_connections,
            };
            Ok(Database::connect_lazy(&address).pool().clone())
        };
        Ok(Self { identity: pool("identity")?, tenancy: pool("tenancy")? })
    }

    pub async fn close(&self) {
        self.identity.close().await;
        self.tenancy.close().await;
    }
}

fn secret(config: &Config, name: &str) -> Result<Secret, Failure> {
    let path = config.secrets.dir.join(name);
    Secret::read(&path).map_err(|error| format!("{} cannot be read: {error}", path.display()).into())
}

/// Makes the seal key of a new site. Never once signing keys are stored: they could not be opened
/// with another one, and the missing file is then a fault to mend, not to paper over.
pub async fn ensure_seal_key(config: &Config, databases: &Databases) -> Result<(), Failure> {
    let path = config.secrets.dir.join(SEAL_KEY);
    if path.exists() {
        return Ok(());
    }
    if Identity::has_keys(&databases.identity).await? {
        return Err(format!("{} is missing, but signing keys sealed with it are stored", path.display()).into());
    }
    let mut key = [0u8; 32];
    rand::rngs::OsRng.try_fill_bytes(&mut key)?;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    file.write_all(hex::encode(key).as_bytes())?;
    file.sync_all()?;
    Ok(())
}

/// Both services, knowing each other.
pub struct Plane {
    pub identity: Identity,
    pub tenancy: Tenancy,
}

impl Plane {
    pub fn assemble(config: &Config, databases: &Databases) -> Result<Self, Failure> {
        let (tenants, settings) = (Tenants::default(), &config.services);
        let seal_key = secret(config, SEAL_KEY)?;
        let identity =
            Identity::new(databases.identity.clone(), settings.identity.clone(), &seal_key, Arc::new(tenants.clone()))?;
        let signer = Arc::new(IdentitySigner(identity.clone()));
        let tenancy = Tenancy::new(databases.tenancy.clone(), settings.tenancy.clone(), signer);
        tenants.fill(tenancy.clone());
        Ok(Self { identity, tenancy })
    }
}
