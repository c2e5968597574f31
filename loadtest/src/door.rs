//! A tenant of its own, and the two clients every measurement uses.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use anyhow::{Context, ensure};
use contracts::services;
use reqwest::{Client, Method, RequestBuilder};
use serde::Deserialize;
use serde_json::{Value, json};

const TENANT: &str = "bench";
pub const CELL: &str = "shared-1";

pub struct Door {
    http: Client,
    base: String,
    token: String,
    /// Of the platform's administrator.
    admin: String,
    /// The router's operators' port.
    operators: String,
    /// The gateway of the tenant's cell.
    pub gateway: SocketAddr,
    pub sql: flight_sql::Client,
}

#[derive(Deserialize)]
struct Site {
    router: Router,
    cells: Vec<Cell>,
}

#[derive(Deserialize)]
struct Cell {
    name: String,
    address: IpAddr,
}

#[derive(Deserialize)]
struct Router {
    http: String,
    flight: String,
    admin: String,
}

impl Door {
    /// Makes the tenant `bench` if it does not exist yet, and signs in.
    pub async fn open(state: &Path) -> anyhow::Result<Self> {
        let site: Site = toml::from_str(&std::fs::read_to_string(state.join("site.toml"))?)?;
        let bare = |text: &str| text.split_once("://").map_or(text, |(_, rest)| rest).to_owned();
        let (http_address, flight_address) = (bare(&site.router.http), bare(&site.router.flight));
        let base = format!("http://{http_address}");
        let http = Client::builder().no_proxy().build()?;
        let admin = std::fs::read(state.join("global/secrets/bootstrap-admin")).context("no bootstrap credential")?;
        let admin: Value = serde_json::from_slice(&admin)?;
        let global = Global { http: &http, base: &base };
        let admin = global.token(&admin["client_id"], &admin["client_secret"], None).await?;
        let (id, secret) = global.tenant(&admin).await?;
        let token = global.token(&id, &secret, Some(TENANT)).await?;
        let channel = flight_sql::connect(&format!("http://{flight_address}"), flight_sql::Tls::default()).await?;
        let sql = flight_sql::Client::new(channel).with_bearer(&token)?;
        let cell = site.cells.iter().find(|cell| cell.name == CELL).with_context(|| format!("no cell {CELL}"))?;
        let gateway = SocketAddr::new(cell.address, services::declared(services::GATEWAY).http_port);
        Ok(Self { http, base, token, admin, operators: site.router.admin, gateway, sql })
    }

    /// Where the router's HTTP is.
    pub fn base(&self) -> &str {
        &self.base
    }

    pub fn token(&self) -> &str {
        &self.token
    }

    pub fn tenant(&self) -> &'static str {
        TENANT
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        request.header("host", format!("{TENANT}.localhost")).bearer_auth(&self.token)
    }

    /// To the global plane, as the platform's administrator.
    pub fn at_global(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        request.header("host", "global.localhost").bearer_auth(&self.admin)
    }

    /// To the router itself, as its operators.
    pub fn of_router(&self, path: &str) -> RequestBuilder {
        self.http.get(format!("{}{path}", self.operators))
    }

    pub async fn json(&self, request: RequestBuilder) -> anyhow::Result<Value> {
        let response = request.send().await?;
        let (status, text) = (response.status(), response.text().await?);
        ensure!(status.is_success(), "{status}: {text}");
        Ok(if text.is_empty() { Value::Null } else { serde_json::from_str(&text)? })
    }
}

struct Global<'a> {
    http: &'a Client,
    base: &'a str,
}

impl Global<'_> {
    async fn token(&self, id: &Value, secret: &Value, tenant: Option<&str>) -> anyhow::Result<String> {
        let (id, secret) = (id.as_str().unwrap_or_default(), secret.as_str().unwrap_or_default());
        let mut form = vec![("grant_type", "client_credentials"), ("client_id", id), ("client_secret", secret)];
        form.extend(tenant.map(|t| ("tenant", t)));
        let request = self.http.post(format!("{}/oauth2/token", self.base)).header("host", "global.localhost");
        let answer: Value = request.form(&form).send().await?.error_for_status()?.json().await?;
        Ok(answer["access_token"].as_str().context("no token")?.to_owned())
    }

    /// The tenant and a fresh machine user of it.
    async fn tenant(&self, token: &str) -> anyhow::Result<(Value, Value)> {
        self.send(Method::POST, "/api/v1/organisations", token, &json!({"id": TENANT, "name": "Bench"})).await?;
        let tenant = json!({"id": TENANT, "organisation": TENANT, "cell": CELL});
        self.send(Method::POST, "/api/v1/tenants", token, &tenant).await?;
        let name = format!("bench-{}", uuid::Uuid::now_v7());
        let account = json!({"name": name, "organisation": TENANT});
        let account = self.send(Method::POST, "/api/v1/service-accounts", token, &account).await?;
        let member = format!("/api/v1/tenants/{TENANT}/members/{}", account["id"].as_str().unwrap_or_default());
        self.send(Method::PUT, &member, token, &json!({"scopes": ["*"]})).await?;
        Ok((account["clientId"].clone(), account["clientSecret"].clone()))
    }

    async fn send(&self, method: Method, path: &str, token: &str, body: &Value) -> anyhow::Result<Value> {
        let request = self.http.request(method, format!("{}{path}", self.base)).header("host", "global.localhost");
        let response = request.bearer_auth(token).json(body).send().await?;
        let (status, text) = (response.status(), response.text().await?);
        ensure!(status.is_success(), "{path}: {status}: {text}");
        Ok(serde_json::from_str(&text).unwrap_or(Value::Null))
    }
}
