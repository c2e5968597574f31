//! The last good state of a feed, on disk: checksummed, bounded, replaced atomically.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

/// A larger file is refused unread.
const MAX_BYTES: u64 = 1 << 30;
/// Snapshots of one name on disk.
const KEPT: usize = 3;

#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("{path} cannot be written")]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

/// A named snapshot: one line of SHA-256 in hex, then the JSON it covers. The last three are kept, `<name>` being
/// the newest, then `<name>.1` and `<name>.2`: a damaged one gives way to the one before.
#[derive(Debug, Clone)]
pub struct Snapshot {
    path: PathBuf,
}

impl Snapshot {
    pub fn new(dir: &Path, name: &str) -> Result<Self, SnapshotError> {
        std::fs::create_dir_all(dir).map_err(|source| SnapshotError::Write { path: dir.to_owned(), source })?;
        Ok(Self { path: dir.join(name) })
    }

    /// The newest stored state that is whole and that `accept` takes, or `None` when there is none.
    pub fn load<T: DeserializeOwned>(&self, accept: impl Fn(&T) -> bool) -> Option<T> {
        (0..KEPT).find_map(|age| {
            let path = self.aged(age);
            match read(&path) {
                Ok(state) if accept(&state) => Some(state),
                Ok(_) => refused(&path, "what it holds makes no sense"),
                Err(Unread::Absent) => None,
                Err(Unread::Refused(why)) => refused(&path, why),
            }
        })
    }

    /// Replaces the stored state; a crash leaves the old or the new one, or the one before as `<name>.1`.
    pub fn store<T: Serialize>(&self, state: &T) -> std::io::Result<()> {
        let body = serde_json::to_string(state)?;
        let digest = hex::encode(Sha256::digest(body.as_bytes()));
        let draft = self.path.with_extension("draft");
        let mut file = std::fs::File::create(&draft)?;
        file.write_all(format!("{digest}\n{body}").as_bytes())?;
        file.sync_all()?;
        // A damaged file must push no good one off the end.
        if read::<serde::de::IgnoredAny>(&self.path).is_ok() {
            for age in (1..KEPT).rev() {
                match std::fs::rename(self.aged(age - 1), self.aged(age)) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
        }
        std::fs::rename(&draft, &self.path)
    }

    /// File of the snapshot that was stored `age` times ago.
    fn aged(&self, age: usize) -> PathBuf {
        match age {
            0 => self.path.clone(),
            _ => {
                let mut name = self.path.clone().into_os_string();
                name.push(format!(".{age}"));
                name.into()
            }
        }
    }
}

enum Unread {
    Absent,
    Refused(&'static str),
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T, Unread> {
    let file = match std::fs::File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(Unread::Absent),
        other => other.map_err(|_| Unread::Refused("it cannot be opened"))?,
    };
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|_| Unread::Refused("it cannot be read"))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Unread::Refused("it is larger than its bound"));
    }
    let end = bytes.iter().position(|byte| *byte == b'\n').ok_or(Unread::Refused("it has no checksum"))?;
    let (digest, body) = (&bytes[..end], &bytes[end + 1..]);
    if digest != hex::encode(Sha256::digest(body)).as_bytes() {
        return Err(Unread::Refused("its checksum is wrong"));
    }
    serde_json::from_slice(body).map_err(|_| Unread::Refused("it is of another form"))
}

fn refused<T>(path: &Path, why: &'static str) -> Option<T> {
    tracing::error!(path = %path.display(), why, "snapshot refused");
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_or_cut_snapshot_is_refused() {
        let dir = std::env::temp_dir().join(format!("kit-snapshot-{}", uuid::Uuid::now_v7()));
        let snapshot = Snapshot::new(&dir, "numbers.json").unwrap();
        let load = || snapshot.load::<Vec<u32>>(|_| true);
        assert_eq!(load(), None);
        snapshot.store(&vec![1u32, 2, 3]).unwrap();
        assert_eq!(load(), Some(vec![1, 2, 3]));
        let good = std::fs::read(dir.join("numbers.json")).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(dir.join("numbers.json"), &bad).unwrap();
            assert_eq!(load(), None, "byte {at}");
            std::fs::write(dir.join("numbers.json"), &good[..at]).unwrap();
            assert_eq!(load(), None, "cut at {at}");
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_damaged_snapshot_gives_way_to_the_one_before_and_pushes_none_out() {
        let dir = std::env::temp_dir().join(format!("kit-snapshot-{}", uuid::Uuid::now_v7()));
        let snapshot = Snapshot::new(&dir, "number.json").unwrap();
        for number in 1..=5u32 {
            snapshot.store(&number).unwrap();
        }
        assert_eq!(snapshot.load(|_: &u32| true), Some(5));
        assert_eq!(snapshot.load(|number: &u32| *number < 5), Some(4));
        std::fs::write(dir.join("number.json"), "spoilt").unwrap();
        assert_eq!(snapshot.load(|_: &u32| true), Some(4));
        snapshot.store(&6u32).unwrap();
        std::fs::write(dir.join("number.json"), "spoilt").unwrap();
        assert_eq!(snapshot.load(|_: &u32| true), Some(4));
        assert_eq!(snapshot.load(|number: &u32| *number < 4), Some(3));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
