//! Files of a site: private ones, written whole or not at all.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use crate::error::{At, Error, Result};

/// Makes a folder and its parents, readable by its owner only.
pub(crate) fn private_dir(path: &Path) -> Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).at("cannot make the folder", path)
}

/// Replaces `path` by `content` in one rename, mode 0600. Returns whether the content changed.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> Result<bool> {
    if std::fs::read(path).is_ok_and(|old| old == content) {
        return Ok(false);
    }
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = Path::new(&fresh);
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(fresh)
        .at("cannot write", fresh)?;
    file.write_all(content).and_then(|()| file.sync_all()).at("cannot write", fresh)?;
    std::fs::rename(fresh, path).at("cannot write", path)?;
    Ok(true)
}

/// Removes a tree; an absent one is fine.
pub(crate) fn remove_tree(path: &Path) -> Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::Io { what: "cannot remove", path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// Refuses to go on when the file system of `path` is nearly full.
pub fn require_space(path: &Path, needed_mib: u64) -> Result<()> {
    let existing = path.ancestors().find(|p| p.exists()).unwrap_or(Path::new("/"));
    let stat = nix::sys::statvfs::statvfs(existing).map_err(|errno| Error::Io {
        what: "cannot measure the free space of",
        path: existing.to_owned(),
        source: errno.into(),
    })?;
    let free_mib = stat.blocks_available() * stat.fragment_size() / (1024 * 1024);
    if free_mib < needed_mib {
        return Err(Error::DiskFull { path: existing.to_owned(), free_mib, needed_mib });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_named_with_what_is_needed() {
        let error = require_space(Path::new("/tmp/not/there"), u64::MAX / 2).unwrap_err().to_string();
        assert!(error.contains("MiB are needed"), "{error}");
    }

    #[test]
    fn writing_the_same_again_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        assert!(write_private(&path, b"a").unwrap());
        assert!(!write_private(&path, b"a").unwrap());
        assert!(write_private(&path, b"b").unwrap());
    }
}
