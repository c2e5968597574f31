//! An upload's Idempotency-Key: kept in the transaction it opened, and let go if that is aborted. It is bound to
//! the body it came with: the same key with another body is a client's mistake, and to answer it from memory would
//! lose rows.

use std::sync::Arc;

use axum::body::Body;
use futures::TryStreamExt;
use kit::Scope;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::transactions::{TooLong, bounded};
use super::upload::Landed;
use super::{App, datasets};
use crate::domain::{Format, State, TransactionKind};
use crate::error::Error;
use crate::intake::Dialect;
use crate::store;

/// What has come of an upload so far; how it is to be read is part of it.
#[derive(Clone)]
pub struct Sent(Arc<Mutex<Sha256>>);

impl Sent {
    pub fn new(kind: TransactionKind, format: Format, dialect: &Dialect) -> Self {
        let mut digest = Sha256::new();
        let parts = [kind.name().as_bytes(), format.extension().as_bytes(), &[dialect.delimiter]];
        for part in parts.into_iter().chain(dialect.nulls.iter().map(|null| null.as_bytes())) {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        // No length is so large: here the body begins.
        digest.update([u8::MAX; 8]);
        Self(Arc::new(Mutex::new(digest)))
    }

    /// The same body, noted as it is read.
    pub fn digesting(&self, body: Body) -> Body {
        let sent = self.clone();
        Body::from_stream(body.into_data_stream().inspect_ok(move |chunk| sent.0.lock().update(chunk)))
    }

    fn digest(&self) -> Vec<u8> {
        self.0.lock().clone().finalize().to_vec()
    }
}

/// A committed upload and the digest of what it sent.
pub struct Before {
    landed: Landed,
    digest: Option<Vec<u8>>,
}

/// The upload that had this key before, if it was committed.
pub async fn before(app: &App, scope: &Scope, reference: &str, key: &str) -> Result<Option<Before>, Error> {
    let dataset = datasets::find(app, scope, reference).await?;
    let mut tx = app.database.begin(scope).await?;
    let found = store::transactions::by_upload_key(&mut tx, scope, dataset.id, key).await?;
    let Some((transaction, digest)) = found else { return Ok(None) };
    if transaction.state == State::Open {
        return Err(Error::UploadUnderWay);
    }
    let files = store::transactions::files(&mut tx, scope, transaction.id).await?;
    tx.commit().await?;
    Ok(Some(Before { landed: Landed { dataset, transaction, files, replayed: true }, digest }))
}

/// How the upload ended before, once its body has come again and is the same.
pub async fn repeat(app: &App, before: Before, sent: &Sent, body: Body) -> Result<Landed, Error> {
    let limit = app.settings.upload_bytes;
    let read = bounded(sent.digesting(body), limit).try_for_each(|_| std::future::ready(Ok(())));
    read.await.map_err(|error| if error.is::<TooLong>() { Error::TooLong { limit } } else { Error::BrokenOff })?;
    match before.digest {
        Some(digest) if digest == sent.digest() => Ok(before.landed),
        _ => Err(Error::KeyReused),
    }
}

/// Notes what was sent, before any of it can be committed.
pub async fn keep(app: &App, scope: &Scope, transaction: Uuid, sent: &Sent) -> Result<(), Error> {
    let mut tx = app.database.begin(scope).await?;
    store::transactions::sent(&mut tx, scope, transaction, &sent.digest()).await?;
    Ok(tx.commit().await?)
}
