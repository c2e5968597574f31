//! Postgres refuses to run as root. As root we give it another identity; as anybody else, nothing.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::error::{Error, Result};

/// `nobody`.
const UID: u32 = 65534;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unprivileged {
    /// We are not root.
    AsWeAre,
    /// A user namespace where root's files belong to `nobody`: nothing changes owner, and a state
    /// folder below root's closed home works.
    Namespace,
    /// No user namespaces here: become `nobody`. Its files must belong to it and be reachable.
    SwitchUser,
}

static CHOICE: OnceLock<Unprivileged> = OnceLock::new();

impl Unprivileged {
    pub(crate) fn of_this_machine() -> Self {
        *CHOICE.get_or_init(|| {
            if !nix::unistd::Uid::effective().is_root() {
                return Self::AsWeAre;
            }
            let mut words = Self::Namespace.prefix().into_iter();
            let works = Command::new(words.next().unwrap_or_default())
                .args(words)
                .arg("true")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success());
            if works { Self::Namespace } else { Self::SwitchUser }
        })
    }

    pub(super) fn prefix(self) -> Vec<OsString> {
        let words: Vec<String> = match self {
            Self::AsWeAre => Vec::new(),
            Self::Namespace => {
                vec![
                    "unshare".into(),
                    "--user".into(),
                    format!("--map-user={UID}"),
                    format!("--map-group={UID}"),
                    "--".into(),
                ]
            }
            Self::SwitchUser => vec![
                "setpriv".into(),
                format!("--reuid={UID}"),
                format!("--regid={UID}"),
                "--clear-groups".into(),
                "--".into(),
            ],
        };
        words.into_iter().map(OsString::from).collect()
    }

    /// Makes `dir` usable for the process: only the switched user needs it to own the folder.
    pub(crate) fn own(self, dir: &Path) -> Result<()> {
        if self != Self::SwitchUser {
            return Ok(());
        }
        std::os::unix::fs::chown(dir, Some(UID), Some(UID)).map_err(|source| Error::Io {
            what: "cannot give to nobody",
            path: dir.to_owned(),
            source,
        })?;
        use std::os::unix::fs::PermissionsExt;
        let closed =
            dir.ancestors().skip(1).find(|parent| parent.metadata().is_ok_and(|m| m.permissions().mode() & 0o001 == 0));
        match closed {
            Some(parent) => Err(Error::Missing {
                what: format!("Postgres cannot run as root here and {} is closed to other users", parent.display()),
                remedy: "run as a normal user, or put the state in a folder that others may enter (CYTO_STATE)".into(),
            }),
            None => Ok(()),
        }
    }
}
