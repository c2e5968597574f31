//! Passwords of a site: made once, kept in files only their owner can read.

use std::path::{Path, PathBuf};

use kit::Secret;

use crate::error::{At, Result};
use crate::files::{private_dir, write_private};

/// A folder of secrets, one file each.
#[derive(Debug, Clone)]
pub struct Secrets {
    dir: PathBuf,
}

impl Secrets {
    pub fn in_dir(dir: &Path) -> Result<Self> {
        private_dir(dir)?;
        Ok(Self { dir: dir.to_owned() })
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Keeps a secret that somebody else made.
    pub fn put(&self, name: &str, secret: &Secret) -> Result<()> {
        write_private(&self.dir.join(name), secret.expose().as_bytes()).map(|_| ())
    }

    /// The secret of this name, if it is there.
    pub fn get(&self, name: &str) -> Result<Option<Secret>> {
        let path = self.dir.join(name);
        path.exists().then(|| Secret::read(&path).at("cannot read the secret", &path)).transpose()
    }

    /// The secret of this name; 32 random bytes in hex if it does not exist yet.
    pub fn get_or_make(&self, name: &str) -> Result<Secret> {
        let path = self.dir.join(name);
        if !path.exists() {
            write_private(&path, hex::encode(rand::random::<[u8; 32]>()).as_bytes())?;
        }
        Secret::read(&path).at("cannot read the secret", &path)
    }
}
