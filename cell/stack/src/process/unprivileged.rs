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
    /// We are a user like any other.
    AsWeAre,
    /// A user namespace where root's files belong to `nobody`: nothing changes owner, and a state
    /// folder below root's closed home works.
    Namespace,
    /// No user namespaces (most containers): become `nobody`, who owns the data and keeps one
    /// capability, to pass through folders that only root may enter.
    SwitchUser,
}

static CHOICE: OnceLock<Unprivileged> = OnceLock::new();

impl Unprivileged {
    pub(crate) fn of_this_machine() -> Self {
        *CHOICE.get_or_init(|| {
            let own = nix::unistd::Uid::effective();
            // Containers may run as a number without a name; initdb insists on one.
            let named = matches!(nix::unistd::User::from_uid(own), Ok(Some(_)));
            match own.is_root() {
                false if named => Self::AsWeAre,
                _ if Self::Namespace.works() => Self::Namespace,
                false => Self::AsWeAre,
                true => Self::SwitchUser,
            }
        })
    }

    fn works(self) -> bool {
        let mut words = self.prefix().into_iter();
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).arg("true").stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }

    pub(super) fn prefix(self) -> Vec<OsString> {
        let text = match self {
            Self::AsWeAre => String::new(),
            Self::Namespace => format!("unshare --user --map-user={UID} --map-group={UID} --"),
            // access(2) looks at capabilities of another user than root only with no_setuid_fixup.
            Self::SwitchUser => format!(
                "setpriv --reuid={UID} --regid={UID} --clear-groups --securebits=+no_setuid_fixup \
                 --inh-caps=-all,+dac_override --ambient-caps=-all,+dac_override --"
            ),
        };
        text.split_whitespace().map(OsString::from).collect()
    }

    /// Makes `path` usable for the process: only the switched user needs to own it.
    pub(crate) fn own(self, path: &Path) -> Result<()> {
        if self != Self::SwitchUser {
            return Ok(());
        }
        std::os::unix::fs::chown(path, Some(UID), Some(UID)).map_err(|source| Error::Io {
            what: "cannot give to nobody",
            path: path.to_owned(),
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_way_of_running_unprivileged_is_root() {
        let own = nix::unistd::Uid::effective();
        let ways = [Unprivileged::Namespace, Unprivileged::SwitchUser];
        for way in ways.into_iter().filter(|way| own.is_root() && way.works()) {
            let mut words = way.prefix().into_iter();
            let output = Command::new(words.next().unwrap()).args(words).args(["id", "-u"]).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "65534", "{way:?}");
        }
    }
}
