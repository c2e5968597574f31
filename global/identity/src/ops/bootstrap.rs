//! The first administrator, without which nobody could make another.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use serde::Serialize;
use uuid::Uuid;

use super::api_keys::{self, NewKey};
use crate::Identity;
use crate::domain::access::{Role, SubjectKind};
use crate::error::Error;
use crate::ops::accounts;
use crate::store::subjects;

const NAME: &str = "bootstrap-admin";

#[derive(Serialize)]
struct Credential<'a> {
    client_id: Uuid,
    client_secret: &'a str,
}

/// Writes to a draft of mode 0600 and renames it: the file is whole or absent, never open to others.
fn write(file: &Path, credential: &Credential<'_>) -> std::io::Result<()> {
    let draft = file.with_extension("draft");
    if draft.exists() {
        std::fs::remove_file(&draft)?;
    }
    let mut out = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    out.write_all(serde_json::to_string(credential)?.as_bytes())?;
    out.sync_all()?;
    std::fs::rename(&draft, file)
}

/// The file is written before the commit: a crash in between leaves a credential that does not
/// work yet, and the next run replaces it. The other order could lose the only administrator.
pub async fn administrator(identity: &Identity, file: &Path, reissue: bool) -> Result<bool, Error> {
    let mut db = kit::database::begin(&identity.0.pool).await?;
    subjects::lock_bootstrap(&mut db).await?;
    let id = match subjects::platform_account(&mut db, NAME).await? {
        Some(_) if !reissue => return Ok(false),
        Some(id) => id,
        None => {
            let account =
                accounts::fresh(SubjectKind::ServiceAccount, None, NAME.to_owned(), Role::PlatformAdmin, None);
            subjects::insert(&mut db, &account, None).await?;
            account.id
        }
    };
    let (_, secret) = api_keys::add(&mut db, identity, NewKey::unlimited(id, "bootstrap")).await?;
    write(file, &Credential { client_id: id, client_secret: &secret })
        .map_err(|source| Error::File { what: "the administrator's credential cannot be written", source })?;
    db.commit().await?;
    Ok(true)
}
