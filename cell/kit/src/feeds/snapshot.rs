//! The last good state of a feed, on disk: checksummed, bounded, replaced atomically.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

/// A larger file is refused unread.
const MAX_BYTES: u64 = 1 << 30;

#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("{path} cannot be written")]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

/// A named snapshot file: one line of SHA-256 in hex, then the JSON it covers.
#[derive(Debug, Clone)]
pub struct Snapshot {
    path: PathBuf,
}

impl Snapshot {
    pub fn new(dir: &Path, name: &str) -> Result<Self, SnapshotError> {
        std::fs::create_dir_all(dir).map_err(|source| SnapshotError::Write { path: dir.to_owned(), source })?;
        Ok(Self { path: dir.join(name) })
    }

    /// The stored state, or `None` when there is none that can be trusted.
    pub fn load<T: DeserializeOwned>(&self) -> Option<T> {
        let size = std::fs::metadata(&self.path).ok()?.len();
        if size > MAX_BYTES {
            tracing::error!(path = %self.path.display(), size, "snapshot refused: larger than its bound");
            return None;
        }
        let text = std::fs::read_to_string(&self.path).ok()?;
        let parsed = text.split_once('\n').and_then(|(digest, body)| {
            (digest == hex::encode(Sha256::digest(body.as_bytes()))).then(|| serde_json::from_str(body).ok())?
        });
        if parsed.is_none() {
            tracing::error!(path = %self.path.display(), "snapshot refused: its checksum or form is wrong");
        }
        parsed
    }

    /// Replaces the stored state; a crash leaves either the old or the new one.
    pub fn store<T: Serialize>(&self, state: &T) -> std::io::Result<()> {
        let body = serde_json::to_string(state)?;
        let digest = hex::encode(Sha256::digest(body.as_bytes()));
        let draft = self.path.with_extension("draft");
        let mut file = std::fs::File::create(&draft)?;
        file.write_all(format!("{digest}\n{body}").as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&draft, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_or_cut_snapshot_is_refused() {
        let dir = std::env::temp_dir().join(format!("kit-snapshot-{}", uuid::Uuid::now_v7()));
        let snapshot = Snapshot::new(&dir, "numbers.json").unwrap();
        assert_eq!(snapshot.load::<Vec<u32>>(), None);
        snapshot.store(&vec![1u32, 2, 3]).unwrap();
        assert_eq!(snapshot.load::<Vec<u32>>(), Some(vec![1, 2, 3]));
        let good = std::fs::read(dir.join("numbers.json")).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(dir.join("numbers.json"), &bad).unwrap();
            assert_eq!(snapshot.load::<Vec<u32>>(), None, "byte {at}");
            std::fs::write(dir.join("numbers.json"), &good[..at]).unwrap();
            assert_eq!(snapshot.load::<Vec<u32>>(), None, "cut at {at}");
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
