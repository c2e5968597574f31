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

pub(super) struct Keys {
    global: PeerHttp,
    snapshot: Snapshot,
    admission: Arc<Admission>,
}

impl Keys {
    pub(super) fn load(dir: &Path, global: PeerHttp, admission: &Arc<Admission>) -> Result<Self, SnapshotError> {
        let snapshot = Snapshot::new(dir, "jwks.json")?;
        if let Some(set) = snapshot.load::<JwkSet>()
            && !admission.verifier.set_keys(&set)
        {
            tracing::error!("the key set on disk has no key of use");
        }
        Ok(Self { global, snapshot, admission: Arc::clone(admission) })
    }
}

impl Feed for Keys {
    async fn follow(&mut self) -> Result<(), FeedError> {
        loop {
            let request = self.global.plain(Method::GET, "/internal/v1/jwks").timeout(Duration::from_secs(5));
            let set: JwkSet = request.send().await?.error_for_status()?.json().await?;
            if !self.admission.verifier.set_keys(&set) {
                return Err("the key set has no key of use".into());
            }
            self.snapshot.store(&set)?;
            tokio::time::sleep(REFRESH).await;
        }
    }
}
