//! Certificates of names that are not the router's own: read from disk when a client first asks for one.
//!
//! A folder holds one folder for each name, `*.` in front for all names beside each other, with `cert.pem` and
//! `key.pem`. Adding, renewing and removing one is a matter of files; the router is not told and not restarted.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::Pair;
use crate::lately::Lately;
use crate::target::host_of;

/// How long a certificate is shown without a look at its files.
const FRESH: Duration = Duration::from_secs(5);
/// Half of the certificates that are kept, each of some 3 KiB.
const MOST: usize = 50_000;

/// When a pair's two files were last written.
type Stamp = (SystemTime, SystemTime);

#[derive(Debug, Clone)]
struct Held {
    key: Arc<CertifiedKey>,
    stamp: Stamp,
    looked: Instant,
}

#[derive(Debug)]
pub struct Names {
    folder: Option<PathBuf>,
    /// Shown for every name that has none of its own.
    own: Arc<CertifiedKey>,
    held: Mutex<Lately<Held>>,
}

impl Names {
    pub fn new(folder: Option<PathBuf>, own: CertifiedKey) -> Self {
        Self { folder, own: Arc::new(own), held: Mutex::new(Lately::new(MOST)) }
    }

    /// The certificate for a name, at a time.
    fn shown(&self, name: Option<&str>, now: Instant) -> Arc<CertifiedKey> {
        let found = name.and_then(|name| host_of(name.as_bytes())).and_then(|host| self.of(&host, now));
        found.unwrap_or_else(|| self.own.clone())
    }

    /// Whether the name has a certificate of its own, or one with others beside it.
    pub fn has(&self, host: &str, now: Instant) -> bool {
        self.of(host, now).is_some()
    }

    fn of(&self, host: &str, now: Instant) -> Option<Arc<CertifiedKey>> {
        let folder = self.folder.as_deref()?;
        self.find(folder, host, now).or_else(|| {
            let (_, parent) = host.split_once('.')?;
            self.find(folder, &format!("*.{parent}"), now)
        })
    }

    fn find(&self, folder: &Path, name: &str, now: Instant) -> Option<Arc<CertifiedKey>> {
        let held = self.held.lock().get(name);
        if let Some(held) = held.as_ref().filter(|held| now.duration_since(held.looked) < FRESH) {
            return Some(held.key.clone());
        }
        let pair = folder.join(name);
        let Some(stamp) = stamp(&pair) else {
            if held.is_some() {
                self.held.lock().remove(name);
            }
            return None;
        };
        let key = match held {
            Some(held) if held.stamp == stamp => held.key,
            held => match read(&pair) {
                Ok(key) => Arc::new(key),
                // Perhaps it is just being written: the one before stays, and the next look comes soon.
                Err(error) => {
                    tracing::error!(name, %error, "a certificate cannot be used");
                    return held.map(|held| held.key);
                }
            },
        };
        self.held.lock().put(name.into(), Held { key: key.clone(), stamp, looked: now });
        Some(key)
    }
}

fn stamp(pair: &Path) -> Option<Stamp> {
    let written = |name: &str| std::fs::metadata(pair.join(name)).and_then(|file| file.modified()).ok();
    written("cert.pem").zip(written("key.pem"))
}

fn read(pair: &Path) -> Result<CertifiedKey, String> {
    let loaded = Pair::load(&pair.join("cert.pem"), &pair.join("key.pem")).map_err(|error| error.to_string())?;
    loaded.certified().map_err(|error| error.to_string())
}

impl ResolvesServerCert for Names {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.shown(hello.server_name(), Instant::now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(names: &[&str]) -> (String, String) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    fn write(folder: &Path, name: &str, (cert, key): &(String, String)) {
        let at = folder.join(name);
        std::fs::create_dir_all(&at).unwrap();
        std::fs::write(at.join("cert.pem"), cert).unwrap();
        std::fs::write(at.join("key.pem"), key).unwrap();
    }

    struct World {
        folder: tempfile::TempDir,
        names: Names,
        now: Instant,
    }

    fn world() -> World {
        crate::tls::install_provider();
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "own", &pair(&["own.example"]));
        let own = read(&folder.path().join("own")).unwrap();
        let names = Names::new(Some(folder.path().to_owned()), own);
        World { folder, names, now: Instant::now() }
    }

    impl World {
        fn shows(&self, name: &str) -> Vec<u8> {
            self.names.shown(Some(name), self.now).cert[0].to_vec()
        }

        /// Long enough for another look.
        fn later(&mut self) {
            self.now += FRESH;
        }
    }

    #[test]
    fn a_name_added_renewed_and_removed_is_shown_so_without_a_restart() {
        let mut world = world();
        let own = world.shows("data.acme.example");
        write(world.folder.path(), "data.acme.example", &pair(&["data.acme.example"]));
        let first = world.shows("data.acme.example");
        assert_ne!(first, own);
        assert_eq!(world.shows("DATA.acme.example."), first);
        world.later();
        // A clock of the file system may be coarse: the stamp is set, not waited for.
        write(world.folder.path(), "data.acme.example", &pair(&["data.acme.example"]));
        let renewed = world.folder.path().join("data.acme.example/cert.pem");
        let file = std::fs::File::options().write(true).open(renewed).unwrap();
        file.set_modified(SystemTime::now() + Duration::from_secs(60)).unwrap();
        let second = world.shows("data.acme.example");
        assert_ne!(second, first);
        std::fs::remove_dir_all(world.folder.path().join("data.acme.example")).unwrap();
        assert_eq!(world.shows("data.acme.example"), second, "it is looked at again after a while");
        world.later();
        assert_eq!(world.shows("data.acme.example"), own);
    }

    #[test]
    fn a_wildcard_is_shown_for_one_label_and_an_exact_name_before_it() {
        let world = world();
        let own = world.shows("acme.example");
        write(world.folder.path(), "*.acme.example", &pair(&["*.acme.example"]));
        write(world.folder.path(), "own.acme.example", &pair(&["own.acme.example"]));
        let wild = world.shows("any.acme.example");
        assert_ne!(wild, own);
        assert!(![&wild, &own].contains(&&world.shows("own.acme.example")));
        for other in ["acme.example", "a.b.acme.example", "../own", "/etc", ""] {
            assert_eq!(world.shows(other), own, "{other}");
        }
        assert_eq!(world.names.shown(None, world.now).cert[0].to_vec(), own);
    }

    #[test]
    fn a_pair_that_cannot_be_used_leaves_the_one_before() {
        let mut world = world();
        write(world.folder.path(), "data.acme.example", &pair(&["data.acme.example"]));
        let good = world.shows("data.acme.example");
        let (cert, _) = pair(&["data.acme.example"]);
        let (_, key) = pair(&["data.acme.example"]);
        write(world.folder.path(), "data.acme.example", &(cert, key));
        world.later();
        assert_eq!(world.shows("data.acme.example"), good);
        write(world.folder.path(), "new.acme.example", &("no certificate".to_owned(), String::new()));
        assert_eq!(world.shows("new.acme.example"), world.shows("nobody.example"));
    }
}
