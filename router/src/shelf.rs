//! Snapshots on disk: sealed, versioned, bounded, the last three kept.
//!
//! A damaged, truncated, foreign or oversized file is refused as a whole and the next older one is
//! tried: bad data must never take the place of good data.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::block::Block;

/// File layout: magic, format, kind, version, payload length, BLAKE3 of all the rest, payload.
const MAGIC: &[u8; 8] = b"CYTOSNAP";
const HEADER: usize = 8 + 2 + 2 + 8 + 8 + 32;
const KEPT: usize = 3;

/// What a snapshot holds; part of the seal, so that one kind is never read as another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Routing,
    Keys,
    Revocations,
    Cards,
    Names,
}

impl Kind {
    fn code(self) -> u16 {
        match self {
            Kind::Routing => 1,
            Kind::Keys => 2,
            Kind::Revocations => 3,
            Kind::Cards => 4,
            Kind::Names => 5,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Kind::Routing => "routing",
            Kind::Keys => "keys",
            Kind::Revocations => "revocations",
            Kind::Cards => "key-cards",
            Kind::Names => "names",
        }
    }

    /// Raised when the payload's layout changes: a file of another format is not read.
    fn format(self) -> u16 {
        match self {
            Kind::Routing => 2,
            Kind::Keys | Kind::Revocations | Kind::Cards | Kind::Names => 1,
        }
    }

    /// Largest payload, in bytes.
    pub fn bound(self) -> usize {
        match self {
            Kind::Routing => 1024 * 1024 * 1024,
            Kind::Keys => 1024 * 1024,
            Kind::Names => 16 * 1024 * 1024,
            Kind::Revocations => 64 * 1024 * 1024,
            Kind::Cards => 512 * 1024 * 1024,
        }
    }
}

/// Why a snapshot was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error("it is no snapshot of this kind and format")]
    Foreign,
    #[error("it is truncated or has bytes too many")]
    Length,
    #[error("it is larger than the bound")]
    TooLarge,
    #[error("its checksum does not match")]
    Checksum,
    #[error("its name is of another version")]
    Misnamed,
}

fn digest(kind: Kind, version: u64, payload: &[u8]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(MAGIC);
    hasher.update(&kind.format().to_le_bytes());
    hasher.update(&kind.code().to_le_bytes());
    hasher.update(&version.to_le_bytes());
    hasher.update(&(payload.len() as u64).to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}

/// A payload as it stands in a file.
pub fn seal(kind: Kind, version: u64, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER + payload.len());
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&kind.format().to_le_bytes());
    out.extend_from_slice(&kind.code().to_le_bytes());
    out.extend_from_slice(&version.to_le_bytes());
    out.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    out.extend_from_slice(digest(kind, version, payload).as_bytes());
    out.extend_from_slice(payload);
    out
}

/// Version and payload of a sealed file, or why it is refused.
pub fn open(kind: Kind, file: &[u8]) -> Result<(u64, &[u8]), SealError> {
    let (header, payload) = file.split_at_checked(HEADER).ok_or(SealError::Length)?;
    let field = |from: usize, len: usize| header.get(from..from + len).ok_or(SealError::Length);
    let number = |from: usize| -> Result<u64, SealError> {
        field(from, 8)?.try_into().map(u64::from_le_bytes).map_err(|_| SealError::Length)
    };
    let foreign = field(0, 8)? != MAGIC
        || field(8, 2)? != kind.format().to_le_bytes()
        || field(10, 2)? != kind.code().to_le_bytes();
    if foreign {
        return Err(SealError::Foreign);
    }
    let (version, length) = (number(12)?, number(20)?);
    if length > kind.bound() as u64 {
        return Err(SealError::TooLarge);
    }
    if length != payload.len() as u64 {
        return Err(SealError::Length);
    }
    if digest(kind, version, payload).as_bytes() != field(28, 32)? {
        return Err(SealError::Checksum);
    }
    Ok((version, payload))
}

/// The folder in which the snapshots of one kind stand.
#[derive(Debug, Clone)]
pub struct Shelf {
    folder: PathBuf,
    kind: Kind,
}

/// A snapshot that passed, and how many newer ones were refused on the way to it.
#[derive(Debug)]
pub struct Found<T> {
    pub value: Option<T>,
    pub refused: Vec<String>,
}

impl Shelf {
    pub fn new(data_dir: &Path, kind: Kind) -> std::io::Result<Self> {
        let folder = data_dir.join(kind.name());
        fs::create_dir_all(&folder)?;
        Ok(Self { folder, kind })
    }

    /// Puts a snapshot on the shelf: written beside, synced, then renamed; older ones go.
    pub fn put(&self, version: u64, payload: &[u8]) -> std::io::Result<()> {
        if payload.len() > self.kind.bound() {
            return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, "snapshot is larger than its bound"));
        }
        let name = self.file(version);
        // A router and its successor keep snapshots in the same folder; this ends with the file.
        let turn = File::create(self.folder.join("lock"))?;
        turn.lock()?;
        let beside = self.folder.join("writing.tmp");
        let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(&seal(self.kind, version, payload))?;
        file.sync_all()?;
        fs::rename(&beside, &name)?;
        File::open(&self.folder)?.sync_all()?;
        for old in self.names()?.into_iter().skip(KEPT) {
            fs::remove_file(old)?;
        }
        Ok(())
    }

    /// The newest snapshot that is whole and that `read` accepts.
    pub fn newest<T>(&self, read: impl Fn(u64, Bytes) -> Result<T, String>) -> std::io::Result<Found<T>> {
        let mut refused = Vec::new();
        for name in self.names()? {
            match self.try_open(&name, &read) {
                Ok(value) => return Ok(Found { value: Some(value), refused }),
                Err(reason) => refused.push(format!("{}: {reason}", name.display())),
            }
        }
        Ok(Found { value: None, refused })
    }

    fn try_open<T>(&self, name: &Path, read: impl Fn(u64, Bytes) -> Result<T, String>) -> Result<T, String> {
        let mut file = File::open(name).map_err(|e| e.to_string())?;
        let most = HEADER + self.kind.bound();
        let length = usize::try_from(file.metadata().map_err(|e| e.to_string())?.len()).unwrap_or(usize::MAX);
        if length > most {
            return Err(SealError::TooLarge.to_string());
        }
        let mut bytes = Block::zeroed(length).map_err(|e| e.to_string())?;
        file.read_exact(&mut bytes).map_err(|e| e.to_string())?;
        let bytes = bytes.freeze();
        let (version, payload) = open(self.kind, &bytes).map_err(|e| e.to_string())?;
        // An older snapshot under a newer name would stand before the ones it is older than.
        if name != self.file(version) {
            return Err(SealError::Misnamed.to_string());
        }
        read(version, bytes.slice_ref(payload))
    }

    fn file(&self, version: u64) -> PathBuf {
        self.folder.join(format!("{version:020}.snap"))
    }

    /// Newest first.
    fn names(&self) -> std::io::Result<Vec<PathBuf>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "snap") {
                names.push(path);
            }
        }
        names.sort();
        names.reverse();
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_three_are_kept_and_the_newest_whole_one_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(folder.path(), Kind::Routing).unwrap();
        for version in 1..=5u64 {
            shelf.put(version, format!("payload {version}").as_bytes()).unwrap();
        }
        assert_eq!(shelf.names().unwrap().len(), KEPT);
        let newest = shelf.names().unwrap().remove(0);
        let mut bytes = fs::read(&newest).unwrap();
        bytes.truncate(bytes.len() - 1);
        fs::write(&newest, bytes).unwrap();

        let found = shelf.newest(|version, payload| Ok((version, payload.to_vec()))).unwrap();
        assert_eq!(found.value, Some((4, b"payload 4".to_vec())));
        assert_eq!(found.refused.len(), 1);
    }

    #[test]
    fn an_older_snapshot_under_a_newer_name_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(folder.path(), Kind::Routing).unwrap();
        for version in [3, 4] {
            shelf.put(version, b"payload").unwrap();
        }
        fs::copy(shelf.file(3), shelf.file(9)).unwrap();
        let found = shelf.newest(|version, _| Ok(version)).unwrap();
        assert_eq!((found.value, found.refused.len()), (Some(4), 1));
    }

    #[test]
    fn one_kind_is_never_read_as_another() {
        let sealed = seal(Kind::Keys, 7, b"x");
        assert_eq!(open(Kind::Keys, &sealed), Ok((7, &b"x"[..])));
        assert_eq!(open(Kind::Routing, &sealed), Err(SealError::Foreign));
    }
}
