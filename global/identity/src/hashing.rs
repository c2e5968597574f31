//! Password hashes (argon2id, 19 MiB, two passes), never more at once than the machine can take.

use std::sync::Arc;
use std::time::Duration;

use argon2::Argon2;
use argon2::password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString};
use tokio::sync::Semaphore;

use crate::error::Error;
use crate::random;

/// A sign-in that finds no free slot in this time is refused, so that a flood cannot queue up.
const PATIENCE: Duration = Duration::from_secs(3);

#[derive(Debug, Clone)]
pub struct Hashing {
    slots: Arc<Semaphore>,
    /// Hash of a password nobody knows: checking it costs what checking a real one costs.
    decoy: Arc<str>,
}

fn compute(password: &str) -> Result<String, Error> {
    let broken = |_| Error::Broken("a password hash could not be made");
    let salt = SaltString::encode_b64(&random::bytes::<16>()?).map_err(broken)?;
    Ok(Argon2::default().hash_password(password.as_bytes(), &salt).map_err(broken)?.to_string())
}

impl Hashing {
    pub fn new(concurrent: usize) -> Result<Self, Error> {
        let decoy = compute(&hex::encode(random::bytes::<16>()?))?;
        Ok(Self { slots: Arc::new(Semaphore::new(concurrent)), decoy: decoy.into() })
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
        let slot = tokio::time::timeout(PATIENCE, self.slots.clone().acquire_owned()).await;
        let Ok(Ok(slot)) = slot else { return Err(Error::Busy) };
        let done = tokio::task::spawn_blocking(move || {
            let _held = slot;
            work()
        });
        done.await.map_err(|_| Error::Broken("a password hash was interrupted"))
    }

    pub async fn hash(&self, password: String) -> Result<String, Error> {
        self.run(move || compute(&password)).await?
    }

    /// Takes the same time whether there is a hash to check against or not.
    pub async fn verify(&self, password: String, hash: Option<String>) -> Result<bool, Error> {
        let (known, hash) = (hash.is_some(), hash.unwrap_or_else(|| self.decoy.to_string()));
        let matches = self.run(move || {
            let parsed =
                PasswordHash::new(&hash).map_err(|_| Error::Broken("a stored password hash is not readable"))?;
            Ok::<bool, Error>(Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok())
        });
        Ok(matches.await?? && known)
    }
}
