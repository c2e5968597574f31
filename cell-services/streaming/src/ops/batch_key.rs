//! A batch's Idempotency-Key: claimed before the first row, kept with the batch's outcome, let go if the batch
//! fails. It is bound to the body it came with: the same key with another body is a client's mistake, and to
//! answer it from memory would lose rows.

use std::time::{Duration, Instant};

use axum::body::Body;
use kit::Scope;
use kit::database::Tx;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::App;
use super::records::{OnError, next_chunk};
use super::rows::Form;
use crate::domain::outcome::BatchOutcome;
use crate::error::Error;
use crate::store::{self, Claim, Done};

/// A claim whose holder has not been heard of for so long is free again.
const STALE_SECONDS: u32 = 60;
const REFRESH: Duration = Duration::from_secs(15);

/// A key that is ours until the batch ends, and the digest of what has come so far.
pub struct Claimed {
    id: Uuid,
    sent: Sha256,
    refreshed: Instant,
}

pub enum Claiming {
    Ours(Claimed),
    /// The batch was taken before, and ended so.
    Before(Done),
}

/// Of a batch before its first byte: how it is to be read is part of what was sent.
pub fn digest(form: Form, on_error: OnError) -> Sha256 {
    let form: &[u8] = match form {
        Form::Ndjson => b"ndjson",
        Form::Arrow => b"arrow",
    };
    let on_error: &[u8] = match on_error {
        OnError::Skip => b" skip ",
        OnError::Abort => b" abort ",
    };
    Sha256::new().chain_update(form).chain_update(on_error)
}

pub async fn claim(app: &App, scope: &Scope, stream: Uuid, key: &str, sent: Sha256) -> Result<Claiming, Error> {
    let id = Uuid::now_v7();
    let mut tx = app.database.begin(scope).await?;
    let state = store::claim_batch(&mut tx, scope, stream, key, id, STALE_SECONDS).await?;
    tx.commit().await?;
    match state {
        Claim::Ours => Ok(Claiming::Ours(Claimed { id, sent, refreshed: Instant::now() })),
        Claim::Open => Err(Error::BatchOpen),
        Claim::Done(done) => Ok(Claiming::Before(done)),
    }
}

/// How the batch ended before, once its body has come again and is the same.
pub async fn repeat(app: &App, body: Body, mut sent: Sha256, done: Done) -> Result<BatchOutcome, Error> {
    let mut body = body.into_data_stream();
    while let Some(chunk) = next_chunk(app, &mut body).await? {
        sent.update(&chunk);
    }
    if done.digest.is_some_and(|known| known != sent.finalize().as_slice()) {
        return Err(Error::KeyReused);
    }
    serde_json::from_value(done.outcome).map_err(Error::Stored)
}

impl Claimed {
    pub fn came(&mut self, chunk: &[u8]) {
        self.sent.update(chunk);
    }

    /// Keeps the claim from going stale while the body is still coming.
    pub async fn refresh(&mut self, app: &App, scope: &Scope) -> Result<(), Error> {
        if self.refreshed.elapsed() > REFRESH {
            let mut tx = app.database.begin(scope).await?;
            store::refresh_claim(&mut tx, scope, self.id).await?;
            tx.commit().await?;
            self.refreshed = Instant::now();
        }
        Ok(())
    }

    /// Keeps the outcome for repeats, in the transaction that counts the rows.
    pub async fn finish(&self, tx: &mut Tx, scope: &Scope, outcome: &BatchOutcome) -> Result<(), Error> {
        let outcome = serde_json::to_value(outcome).map_err(Error::Stored)?;
        let digest = Some(self.sent.clone().finalize().to_vec());
        Ok(store::finish_batch(tx, scope, self.id, &Done { outcome, digest }).await?)
    }

    pub async fn release(&self, app: &App, scope: &Scope) {
        let released = async {
            let mut tx = app.database.begin(scope).await?;
            store::release_batch(&mut tx, scope, self.id).await?;
            tx.commit().await
        };
        if let Err(error) = released.await {
            tracing::warn!(error = %kit::fault::chain(&error), "a batch's key stays claimed until it goes stale");
        }
    }
}
