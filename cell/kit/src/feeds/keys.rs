//! The key set: small, so it is fetched whole and often.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use jsonwebtoken::jwk::JwkSet;

use super::{Feed, FeedError, Snapshot, SnapshotError};
use crate::admission::Admission;
use crate::peers::PeerHttp;

/// A new key is published long before it signs, so this need not be short.
const REFRESH: Duration = Duration::from_secs(30);

/// A longer key set is refused; a key takes some 200 bytes.
const MAX_BYTES: usize = 1 << 20;

pub(super) struct Keys {
    global: PeerHttp,
    snapshot: Snapshot,
    admission: Arc<Admission>,
    /// The set on disk, as it came; empty when it is not known to be there.
    stored: Vec<u8>,
}

impl Keys {
    pub(super) fn load(dir: &Path, global: PeerHttp, admission: &Arc<Admission>) -> Result<Self, SnapshotError> {
        let snapshot = Snapshot::new(dir, "jwks.json")?;
        // Taking the set is the test of it.
        snapshot.load::<JwkSet>(|set| admission.verifier.set_keys(set));
        Ok(Self { global, snapshot, admission: Arc::clone(admission), stored: Vec::new() })
    }
}

impl Feed for Keys {
    async fn follow(&mut self) -> Result<(), FeedError> {
        loop {
            let request = self.global.plain(Method::GET, "/internal/v1/jwks").timeout(Duration::from_secs(5));
            let body = whole(request.send().await?.error_for_status()?).await?;
            let set: JwkSet = serde_json::from_slice(&body)?;
            if !self.admission.verifier.set_keys(&set) {
                return Err("the key set has no key of use".into());
            }
            if self.stored != body {
                self.snapshot.store(&set)?;
                self.stored = body;
            }
            tokio::time::sleep(REFRESH).await;
        }
    }
}

/// The answer's body, as far as its bound.
async fn whole(mut response: reqwest::Response) -> Result<Vec<u8>, FeedError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > MAX_BYTES {
            return Err("the key set is longer than its bound".into());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
