//! Tells the global plane which cells there are, as any administrator would.

use std::path::Path;
use std::time::Duration;

use reqwest::{Certificate, Client, Identity, Response};
use serde::Deserialize;

use super::configuration::{CYTO, global_url};
use super::settings::{CellDescription, CellKind, Description, Layout, Settings};
use crate::error::{At, Error, Result};
use crate::process::root_cause;

#[derive(Deserialize)]
struct BootstrapAdmin {
    client_id: String,
    client_secret: String,
}

#[derive(Deserialize)]
struct Token {
    access_token: String,
}

/// Puts every cell of the site; no change, no effect.
pub(super) async fn register(settings: &Settings, layout: &Layout, description: &Description) -> Result<()> {
    let client = client(&layout.global().join("identity"))?;
    let url = global_url(settings);
    let token = sign_in(&client, &url, &description.global.bootstrap_admin).await?;
    for cell in &description.cells {
        put(&client, &url, &token, cell).await?;
    }
    Ok(())
}

fn refused(error: impl std::error::Error) -> Error {
    Error::refused("cells cannot be registered with the global plane", root_cause(&error))
}

/// Speaks mTLS as `spiffe://cytoplane/global/cyto`.
fn client(identity: &Path) -> Result<Client> {
    let read = |path: &Path| std::fs::read(path).at("cannot read", path);
    let authority = Certificate::from_pem(&read(&identity.join("ca.pem"))?).map_err(refused)?;
    let mut own = read(&identity.join(CYTO).join("cert.pem"))?;
    own.extend(read(&identity.join(CYTO).join("key.pem"))?);
    Client::builder()
        .use_rustls_tls()
        .tls_built_in_root_certs(false)
        .add_root_certificate(authority)
        .identity(Identity::from_pem(&own).map_err(refused)?)
        .timeout(Duration::from_secs(15))
        .build()
        .map_err(refused)
}

async fn sign_in(client: &Client, url: &str, admin: &Path) -> Result<String> {
    let text = std::fs::read_to_string(admin).at("cannot read", admin)?;
    let admin: BootstrapAdmin = serde_json::from_str(&text).map_err(refused)?;
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", &admin.client_id),
        ("client_secret", &admin.client_secret),
    ];
    let answer = client.post(format!("{url}/oauth2/token")).form(&form).send().await.map_err(refused)?;
    let token: Token = successful(answer).await?.json().await.map_err(refused)?;
    Ok(token.access_token)
}

async fn put(client: &Client, url: &str, token: &str, cell: &CellDescription) -> Result<()> {
    let port =
        |service| contracts::services::find(service).map(|s| s.flight_port.unwrap_or(s.http_port)).unwrap_or_default();
    let body = serde_json::json!({
        "http": format!("{}:{}", cell.address, port(contracts::services::GATEWAY)),
        "flight": format!("{}:{}", cell.address, port(contracts::services::SQL_BI_GATEWAY)),
        "kind": match cell.plan.kind { CellKind::Shared => "shared", CellKind::Dedicated => "dedicated" },
    });
    let request = client.put(format!("{url}/api/v1/cells/{}", cell.plan.name)).bearer_auth(token).json(&body);
    successful(request.send().await.map_err(refused)?).await.map(|_| ())
}

async fn successful(answer: Response) -> Result<Response> {
    if answer.status().is_success() {
        return Ok(answer);
    }
    let (url, status) = (answer.url().path().to_owned(), answer.status());
    let body: String = answer.text().await.unwrap_or_default().chars().take(300).collect();
    Err(Error::refused(format!("the global plane refused {url}"), format!("{status} {body}")))
}
