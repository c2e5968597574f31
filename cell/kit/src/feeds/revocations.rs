//! Revoked sessions, as they happen.

use std::path::Path;
use std::sync::Arc;

use contracts::claims::Revocation;
use http::Method;

use super::lines::{Lines, answer};
use super::{Feed, FeedError, Snapshot, SnapshotError};
use crate::admission::Admission;
use crate::clock::unix_seconds;
use crate::peers::PeerHttp;

/// Header with the feed's newest position; a restored database can be behind us.
const HEAD: &str = "x-cyto-head";

pub(super) struct Revocations {
    global: PeerHttp,
    snapshot: Snapshot,
    admission: Arc<Admission>,
    list: Vec<Revocation>,
}

impl Revocations {
    pub(super) fn load(dir: &Path, global: PeerHttp, admission: &Arc<Admission>) -> Result<Self, SnapshotError> {
        let snapshot = Snapshot::new(dir, "revocations.json")?;
        let list: Vec<Revocation> = snapshot.load(|_| true).unwrap_or_default();
        admission.verifier.set_revocations(&list);
        Ok(Self { global, snapshot, admission: Arc::clone(admission), list })
    }

    fn apply(&mut self, fresh: Vec<Revocation>) -> Result<(), FeedError> {
        self.list.extend(fresh);
        let now = unix_seconds();
        // The newest entry stays even when expired: it holds our position.
        let newest = self.list.iter().map(|r| r.seq).max();
        self.list.retain(|r| r.until >= now || Some(r.seq) == newest);
        self.admission.verifier.set_revocations(&self.list);
        self.snapshot.store(&self.list)?;
        Ok(())
    }
}

impl Feed for Revocations {
    async fn follow(&mut self) -> Result<(), FeedError> {
        let since = self.list.iter().map(|r| r.seq).max().unwrap_or(0);
        let path = format!("/internal/v1/revocations?since={since}");
        let response = answer(self.global.plain(Method::GET, &path)).await?;
        let head = response.headers().get(HEAD).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<u64>().ok());
        if head.is_some_and(|head| head < since) {
            // Old entries stay in force until they expire; only the position starts again.
            self.list.iter_mut().for_each(|r| r.seq = 0);
            return Err("the feed went back; reading it again from its beginning".into());
        }
        let mut lines = Lines::new(response);
        while let Some(line) = lines.next().await? {
            if !line.is_empty() {
                self.apply(vec![serde_json::from_slice(&line)?])?;
            }
        }
        Ok(())
    }
}
