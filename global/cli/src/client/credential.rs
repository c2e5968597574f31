//! Where tokens come from, and the one place that renews them.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use serde::{Deserialize, Serialize};

use super::api::{Api, ApiError};
use crate::place::Place;

/// A token is renewed this long before it ends, so that no request carries a dying one.
const MARGIN: Duration = Duration::from_secs(60);

/// Identifier and secret of a machine user. The secret is shown once, when it is made.
#[derive(Clone, Serialize, Deserialize)]
pub struct ClientSecret {
    pub client_id: String,
    pub client_secret: String,
}

#[derive(Deserialize)]
pub struct TokenAnswer {
    pub access_token: String,
    pub expires_in: u64,
    #[serde(default)]
    pub scope: String,
    #[serde(default)]
    pub refresh_token: Option<String>,
}

enum Source {
    Secret(ClientSecret),
    /// A signed-in user: the refresh token rotates with every use and lives in this file.
    Session(PathBuf),
}

/// Gives a good token for one tenant (or for the global plane) for as long as its source is good.
#[derive(Clone)]
pub struct Credential(Arc<Inner>);

struct Inner {
    api: Api,
    source: Source,
    tenant: Option<String>,
    current: Mutex<Option<(String, Instant)>>,
}

/// `<state>/cli`: what this command keeps between runs, readable by its owner only.
fn cli_dir(place: &Place) -> PathBuf {
    place.state.join("cli")
}

pub fn session_path(place: &Place) -> PathBuf {
    cli_dir(place).join("session.json")
}

fn machine_path(place: &Place, tenant: &str) -> PathBuf {
    cli_dir(place).join(format!("{tenant}.json"))
}

pub fn save_machine(place: &Place, tenant: &str, secret: &ClientSecret) -> anyhow::Result<()> {
    write_private(&machine_path(place, tenant), &serde_json::to_vec(secret)?)
}

pub fn load_machine(place: &Place, tenant: &str) -> Option<ClientSecret> {
    serde_json::from_slice(&fs::read(machine_path(place, tenant)).ok()?).ok()
}

/// The administrator a site is born with.
pub fn bootstrap_admin(place: &Place) -> anyhow::Result<ClientSecret> {
    let path = place.state.join("global/secrets/bootstrap-admin");
    let bytes =
        fs::read(&path).with_context(|| format!("{} cannot be read; is this the site's state?", path.display()))?;
    serde_json::from_slice(&bytes).with_context(|| format!("{} is not valid", path.display()))
}

/// Replaces a file in one step; nobody but the owner can read it at any moment.
pub fn write_private(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let dir = path.parent().ok_or_else(|| anyhow!("{} has no folder", path.display()))?;
    fs::create_dir_all(dir)?;
    let draft = path.with_extension(format!("{}.draft", std::process::id()));
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&draft, path).with_context(|| format!("{} cannot be written", path.display()))
}

#[derive(Serialize, Deserialize)]
struct Session {
    refresh_token: String,
}

pub fn save_session(place: &Place, refresh_token: &str) -> anyhow::Result<()> {
    let session = Session { refresh_token: refresh_token.to_owned() };
    write_private(&session_path(place), &serde_json::to_vec(&session)?)
}

impl Credential {
    pub fn secret(api: &Api, secret: ClientSecret, tenant: Option<&str>) -> Self {
        Self::new(api, Source::Secret(secret), tenant)
    }

    fn new(api: &Api, source: Source, tenant: Option<&str>) -> Self {
        let tenant = tenant.map(str::to_owned);
        Self(Arc::new(Inner { api: api.clone(), source, tenant, current: Mutex::new(None) }))
    }

    /// The best source at hand for a tenant: the signed-in user, else the tenant's machine user
    /// that the demo left, else an explanation.
    pub fn find(place: &Place, api: &Api, tenant: &str) -> anyhow::Result<Self> {
        let session = session_path(place);
        if session.exists() {
            return Ok(Self::new(api, Source::Session(session), Some(tenant)));
        }
        match load_machine(place, tenant) {
            Some(secret) => Ok(Self::secret(api, secret, Some(tenant))),
            None => Err(anyhow!("not signed in for tenant {tenant}: run `cyto login`, or `cyto demo` on a new site")),
        }
    }

    /// For the global plane: the signed-in user, else the administrator the site was born with.
    pub fn find_global(place: &Place, api: &Api) -> anyhow::Result<Self> {
        let session = session_path(place);
        if session.exists() {
            return Ok(Self::new(api, Source::Session(session), None));
        }
        Ok(Self::secret(api, bootstrap_admin(place)?, None))
    }

    /// A token good for at least [`MARGIN`].
    pub async fn token(&self) -> Result<String, ApiError> {
        if let Some(token) = self.cached() {
            return Ok(token);
        }
        let answer = self.mint().await?;
        let life = Duration::from_secs(answer.expires_in);
        let until = Instant::now() + life.saturating_sub(MARGIN).max(life / 2);
        let mut current = self.0.current.lock().unwrap_or_else(PoisonError::into_inner);
        *current = Some((answer.access_token.clone(), until));
        Ok(answer.access_token)
    }

    fn cached(&self) -> Option<String> {
        let current = self.0.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.as_ref().filter(|(_, until)| Instant::now() < *until).map(|(token, _)| token.clone())
    }

    async fn mint(&self) -> Result<TokenAnswer, ApiError> {
        let mut form: Vec<(&str, String)> = match &self.0.source {
            Source::Secret(secret) => vec![
                ("grant_type", "client_credentials".to_owned()),
                ("client_id", secret.client_id.clone()),
                ("client_secret", secret.client_secret.clone()),
            ],
            Source::Session(path) => {
                vec![("grant_type", "refresh_token".to_owned()), ("refresh_token", read_session(path))]
            }
        };
        if let Some(tenant) = &self.0.tenant {
            form.push(("tenant", tenant.clone()));
        }
        let answer = exchange(&self.0.api, &form).await?;
        if let (Source::Session(path), Some(refresh)) = (&self.0.source, &answer.refresh_token) {
            keep_session(path, refresh);
        }
        Ok(answer)
    }
}

/// An unreadable session is an empty refresh token: the server refuses it with its own words.
fn read_session(path: &Path) -> String {
    let session: Option<Session> = fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    session.map(|s| s.refresh_token).unwrap_or_default()
}

fn keep_session(path: &Path, refresh_token: &str) {
    let session = Session { refresh_token: refresh_token.to_owned() };
    let written = serde_json::to_vec(&session).map_err(anyhow::Error::from).and_then(|b| write_private(path, &b));
    if let Err(error) = written {
        eprintln!("cyto: the session could not be kept, sign in again next time: {error:#}");
    }
}

/// One call of the token endpoint.
pub async fn exchange(api: &Api, form: &[(&str, String)]) -> Result<TokenAnswer, ApiError> {
    let request = api.request(reqwest::Method::POST, "global", "/oauth2/token").form(form);
    api.json("sign in", request).await
}
