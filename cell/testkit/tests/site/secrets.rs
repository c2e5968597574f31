//! No credential lies where somebody could read it: not in a log, a command line, an environment, or a file
//! that others may open.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::ensure;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use crate::world::World;

/// Shorter ones would be found by chance.
const SHORTEST: usize = 12;

/// Every credential of the site and of its test users, by what it is, in the ways it may be written.
fn credentials(world: &World) -> anyhow::Result<BTreeMap<String, Vec<Vec<u8>>>> {
    let mut found = BTreeMap::new();
    let mut keep = |name: String, secret: &str| {
        let secret = secret.trim();
        if secret.len() >= SHORTEST {
            let plain = secret.as_bytes();
            let url = url::form_urlencoded::byte_serialize(plain).collect::<String>();
            let forms =
                [plain.to_vec(), STANDARD.encode(plain).into(), URL_SAFE_NO_PAD.encode(plain).into(), url.into()];
            found.insert(name, forms.to_vec());
        }
    };
    for folder in files(world.site.state(), &|path| path.ends_with("secrets"))? {
        for file in files(&folder, &|path| path.is_file())? {
            let text = String::from_utf8_lossy(&std::fs::read(&file)?).into_owned();
            match serde_json::from_str::<serde_json::Value>(&text)
                .ok()
                .and_then(|v| v["client_secret"].as_str().map(str::to_owned))
            {
                Some(secret) => keep(file.display().to_string(), &secret),
                None => keep(file.display().to_string(), &text),
            }
        }
    }
    for key in files(world.site.state(), &|path| path.ends_with("key.pem"))? {
        let text = std::fs::read_to_string(&key)?;
        // A line from the middle of the key.
        if let Some(line) = text.lines().nth(1) {
            keep(key.display().to_string(), line);
        }
    }
    for tenant in [&world.acme, &world.neighbour, &world.globex] {
        keep(format!("the secret of {}'s user", tenant.id), &tenant.user.secret);
        let signature = tenant.token().rsplit('.').next().unwrap_or_default().to_owned();
        keep(format!("the token of {}'s user", tenant.id), &signature);
    }
    Ok(found)
}

/// Every path below `folder` that is wanted; what is found is not looked into.
fn files(folder: &Path, wanted: &dyn Fn(&Path) -> bool) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if wanted(&path) {
            found.push(path);
        } else if path.is_dir() && !path.is_symlink() {
            // A server may remove its own folders meanwhile.
            found.extend(files(&path, wanted).unwrap_or_default());
        }
    }
    Ok(found)
}

fn named_in(bytes: &[u8], credentials: &BTreeMap<String, Vec<Vec<u8>>>) -> Option<String> {
    let holds = |forms: &Vec<Vec<u8>>| forms.iter().any(|form| memchr::memmem::find(bytes, form).is_some());
    credentials.iter().find(|(_, forms)| holds(forms)).map(|(name, _)| name.clone())
}

/// Command lines and environments of every process on the machine but ourselves.
fn processes() -> Vec<(String, Vec<u8>)> {
    let own = std::process::id().to_string();
    let mut told = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_string_lossy().into_owned();
        if pid != own && pid.bytes().all(|b| b.is_ascii_digit()) {
            for part in ["cmdline", "environ"] {
                let path = entry.path().join(part);
                told.extend(std::fs::read(&path).ok().map(|bytes| (path.display().to_string(), bytes)));
            }
        }
    }
    told
}

pub async fn no_credential_lies_open(world: Arc<World>) -> anyhow::Result<()> {
    let credentials = credentials(&world)?;
    ensure!(credentials.len() >= 30, "only {} credentials are known", credentials.len());
    let mut searched = 0;
    for log in files(&world.site.state().join("log"), &|path| path.is_file())? {
        let bytes = std::fs::read(&log)?;
        searched += bytes.len();
        let named = named_in(&bytes, &credentials);
        ensure!(named.is_none(), "{} holds {}", log.display(), named.unwrap_or_default());
    }
    ensure!(searched > 100_000, "only {searched} bytes of logs");
    let named = world.collector.bytes(|bytes| (bytes.len(), named_in(bytes, &credentials)));
    ensure!(named.0 > 1_000, "only {} bytes of spans", named.0);
    ensure!(named.1.is_none(), "a span holds {}", named.1.unwrap_or_default());
    for (place, bytes) in processes() {
        let named = named_in(&bytes, &credentials);
        ensure!(named.is_none(), "{place} holds {}", named.unwrap_or_default());
    }
    Ok(())
}

/// Whoever is not the owner may open nothing that holds a credential.
pub async fn no_file_with_a_credential_opens_to_others(world: Arc<World>) -> anyhow::Result<()> {
    let credentials = credentials(&world)?;
    let own_files = |path: &Path| {
        path.extension().is_some_and(|e| ["toml", "conf", "json", "pem", "properties"].iter().any(|x| e == *x))
    };
    let mut looked = 0;
    let places = files(world.site.state(), &|path| {
        path.is_file() && (own_files(path) || path.parent().is_some_and(|p| p.ends_with("secrets")))
    })?;
    for path in places {
        let Ok(bytes) = std::fs::read(&path) else { continue };
        let is_secret =
            path.parent().is_some_and(|p| p.ends_with("secrets")) || named_in(&bytes, &credentials).is_some();
        if !is_secret {
            continue;
        }
        looked += 1;
        let open = std::fs::metadata(&path)?.permissions().mode() & 0o077 != 0;
        // A folder nobody else enters closes what lies in it.
        let closed = path
            .ancestors()
            .skip(1)
            .take_while(|p| p.starts_with(world.site.state()))
            .any(|folder| std::fs::metadata(folder).is_ok_and(|m| m.permissions().mode() & 0o077 == 0));
        ensure!(!open || closed, "{} opens to others", path.display());
    }
    ensure!(looked >= 30, "only {looked} files were looked at");
    Ok(())
}
