//! Checking a password, slowly and not too often.

use time::Duration;
use uuid::Uuid;

use crate::domain::throttle::blocked_for;
use crate::error::Error;
use crate::store::{failures, subjects};
use crate::{Identity, ops};

/// Longer input is refused before it is hashed.
const MAX_PASSWORD_BYTES: usize = 1024;

/// Refuses a caller who failed too often. Keys with their limits; no text of them is stored.
struct Throttle {
    keys: Vec<([u8; 32], i32)>,
    window: Duration,
}

impl Throttle {
    fn new(identity: &Identity, account: Option<&str>, address: &str) -> Self {
        let (settings, pepper) = (&identity.0.settings, &identity.0.pepper);
        let mut keys = vec![(pepper.hash("address", address.as_bytes()), settings.failures_per_address)];
        if let Some(account) = account {
            let both = format!("{account}\n{address}");
            keys.push((pepper.hash("account", account.as_bytes()), settings.failures_per_account));
            keys.push((pepper.hash("account+address", both.as_bytes()), settings.failures_per_account_and_address));
        }
        Self { keys, window: Duration::seconds(settings.failure_window_seconds) }
    }

    async fn check(&self, identity: &Identity) -> Result<(), Error> {
        let now = ops::now();
        let mut db = identity.0.pool.acquire().await?;
        for (key, limit) in &self.keys {
            let found = failures::find(&mut db, key).await?;
            if let Some(wait) = found.and_then(|f| blocked_for(f, *limit, self.window, now)) {
                return Err(Error::Throttled { wait: wait.unsigned_abs() });
            }
        }
        Ok(())
    }

    /// Counts one more for every key.
    async fn failed(&self, identity: &Identity) -> Result<(), Error> {
        let now = ops::now();
        let mut db = kit::database::begin(&identity.0.pool).await?;
        for (key, _) in &self.keys {
            failures::count(&mut db, key, now, now - self.window).await?;
        }
        Ok(db.commit().await?)
    }

    /// Success clears what was counted for this account at this address, and nothing else: an
    /// attacker with one good account must not clear the address.
    async fn succeeded(&self, identity: &Identity) -> Result<(), Error> {
        let mut db = identity.0.pool.acquire().await?;
        match self.keys.get(2) {
            Some((key, _)) => failures::clear(&mut db, key).await,
            None => Ok(()),
        }
    }
}

/// The user behind e-mail and password. Unknown, suspended and wrong look and last the same.
pub async fn user(identity: &Identity, email: &str, password: String, address: &str) -> Result<Uuid, Error> {
    let email = email.trim().to_lowercase();
    let throttle = Throttle::new(identity, Some(&email), address);
    throttle.check(identity).await?;
    let found = match email.len() + password.len() {
        0..MAX_PASSWORD_BYTES => subjects::password_of(&mut *identity.0.pool.acquire().await?, &email).await?,
        _ => return Err(Error::BadCredentials),
    };
    let (id, hash) = found.unzip();
    let good = identity.0.hashing.verify(password, hash).await?;
    match id {
        Some(id) if good => throttle.succeeded(identity).await.map(|()| id),
        _ => {
            throttle.failed(identity).await?;
            Err(Error::BadCredentials)
        }
    }
}

/// Counts a device sign-in that anybody may start, and refuses more than a window's worth.
pub async fn device_started(identity: &Identity, address: &str) -> Result<(), Error> {
    let key = identity.0.pepper.hash("device", address.as_bytes());
    let window = Duration::seconds(identity.0.settings.failure_window_seconds);
    let starts = Throttle { keys: vec![(key, identity.0.settings.device_starts_per_address)], window };
    starts.check(identity).await?;
    starts.failed(identity).await
}

/// Runs a check of a strong secret: failures count against the address alone, so that a stranger
/// cannot lock a service account out by its id.
pub async fn strong<T>(
    identity: &Identity,
    address: &str,
    check: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let throttle = Throttle::new(identity, None, address);
    throttle.check(identity).await?;
    let outcome = check.await;
    if matches!(outcome, Err(Error::BadCredentials)) {
        throttle.failed(identity).await?;
    }
    outcome
}
