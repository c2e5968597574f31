//! Tenants and their machine users, made through the public API.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, anyhow};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::{Answer, Http, Site, eventually};

/// A machine user's id and secret.
#[derive(Debug, Clone)]
pub struct ClientSecret {
    pub id: String,
    pub secret: String,
}

impl ClientSecret {
    /// The administrator a site is born with.
    pub fn of_administrator(site: &Site) -> anyhow::Result<Self> {
        let path = site.bootstrap_admin();
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let value: Value = serde_json::from_str(&text)?;
        let word = |name: &str| value[name].as_str().map(str::to_owned).context("bootstrap-admin is not complete");
        Ok(Self { id: word("client_id")?, secret: word("client_secret")? })
    }
}

/// The token a client uses at the moment; clones share it.
#[derive(Clone)]
struct Bearer(Arc<Mutex<String>>);

impl Bearer {
    fn new(token: impl Into<String>) -> Self {
        Self(Arc::new(Mutex::new(token.into())))
    }

    fn get(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, token: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = token;
    }
}

/// A tenant and a machine user that may do what its scopes say.
#[derive(Clone)]
pub struct Tenant {
    pub id: String,
    pub organisation: String,
    pub cell: String,
    pub user: ClientSecret,
    bearer: Bearer,
    http: Http,
    flight: SocketAddr,
}

/// One call of the token endpoint.
pub async fn token(http: &Http, user: &ClientSecret, tenant: Option<&str>) -> anyhow::Result<String> {
    let mut form = vec![
        ("grant_type", "client_credentials"),
        ("client_id", user.id.as_str()),
        ("client_secret", user.secret.as_str()),
    ];
    form.extend(tenant.map(|t| ("tenant", t)));
    let answer = Answer::of(http.request(Method::POST, "global", "/oauth2/token").form(&form)).await?.good()?;
    text(&answer, "access_token")
}

fn text(value: &Value, name: &str) -> anyhow::Result<String> {
    value[name].as_str().map(str::to_owned).ok_or_else(|| anyhow!("no {name} in {value}"))
}

/// The global plane's API as its administrator.
#[derive(Clone)]
pub struct Admin {
    http: Http,
    user: ClientSecret,
    bearer: Bearer,
}

impl Admin {
    pub async fn sign_in(http: &Http, user: &ClientSecret) -> anyhow::Result<Self> {
        let token = token(http, user, None).await.context("the administrator cannot sign in")?;
        Ok(Self { http: http.clone(), user: user.clone(), bearer: Bearer::new(token) })
    }

    pub fn token(&self) -> String {
        self.bearer.get()
    }

    /// Takes a token made now: a suite may take longer than one lives.
    pub async fn renew(&self) -> anyhow::Result<()> {
        self.bearer.set(token(&self.http, &self.user, None).await?);
        Ok(())
    }

    pub async fn call(&self, method: Method, path: &str, body: Option<Value>) -> anyhow::Result<Answer> {
        let mut request = self.http.request(method, "global", path).bearer_auth(self.token());
        if let Some(body) = body {
            request = request.json(&body);
        }
        Answer::of(request).await
    }

    /// A tenant of `organisation` in `cell`, and a machine user who may do everything in it; waits until the
    /// cell knows it.
    pub async fn tenant(&self, id: &str, organisation: &str, cell: &str, flight: SocketAddr) -> anyhow::Result<Tenant> {
        let body = json!({ "id": organisation, "name": organisation });
        self.call(Method::POST, "/api/v1/organisations", Some(body)).await?.good()?;
        let body = json!({ "id": id, "organisation": organisation, "cell": cell });
        self.call(Method::POST, "/api/v1/tenants", Some(body)).await?.good()?;
        let user = self.member(id, organisation, &["*"]).await?;
        let token = token(&self.http, &user, Some(id)).await?;
        let http = self.http.clone();
        let (cell_name, organisation) = (cell.to_owned(), organisation.to_owned());
        let bearer = Bearer::new(token);
        let tenant = Tenant { id: id.to_owned(), organisation, cell: cell_name, user, bearer, http, flight };
        eventually(&format!("tenant {id} is served by {cell}"), || async {
            let me = tenant.get("/api/v1/me").await?;
            anyhow::ensure!(me["cell"] == cell, "served by {}", me["cell"]);
            Ok(())
        })
        .await?;
        Ok(tenant)
    }

    /// One more machine user in a tenant.
    pub async fn member(&self, tenant: &str, organisation: &str, scopes: &[&str]) -> anyhow::Result<ClientSecret> {
        let name = format!("robot-{}", uuid::Uuid::now_v7().simple());
        let body = json!({ "name": name, "organisation": organisation });
        let account = self.call(Method::POST, "/api/v1/service-accounts", Some(body)).await?.good()?;
        let user = ClientSecret { id: text(&account, "clientId")?, secret: text(&account, "clientSecret")? };
        let path = format!("/api/v1/tenants/{tenant}/members/{}", user.id);
        self.call(Method::PUT, &path, Some(json!({ "scopes": scopes }))).await?.good()?;
        Ok(user)
    }
}

impl Tenant {
    pub fn http(&self) -> &Http {
        &self.http
    }

    pub fn token(&self) -> String {
        self.bearer.get()
    }

    /// Takes a token made now: a suite may take longer than one lives.
    pub async fn renew(&self) -> anyhow::Result<()> {
        self.bearer.set(self.fresh_token().await?);
        Ok(())
    }

    /// A token of the same user, made now.
    pub async fn fresh_token(&self) -> anyhow::Result<String> {
        token(&self.http, &self.user, Some(&self.id)).await
    }

    /// The same tenant seen by another of its members, signed in now.
    pub async fn as_user(&self, user: ClientSecret) -> anyhow::Result<Self> {
        let token = token(&self.http, &user, Some(&self.id)).await?;
        Ok(Self { user, bearer: Bearer::new(token), ..self.clone() })
    }

    /// The same tenant seen with another bearer.
    pub fn with_token(&self, token: impl Into<String>) -> Self {
        Self { bearer: Bearer::new(token), ..self.clone() }
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, &self.id, path).bearer_auth(self.token())
    }

    pub async fn answer(&self, method: Method, path: &str) -> anyhow::Result<Answer> {
        Answer::of(self.request(method, path)).await
    }

    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.answer(Method::GET, path).await?.good().with_context(|| format!("GET {path}"))
    }

    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let answer = Answer::of(self.request(Method::POST, path).json(body)).await?;
        answer.good().with_context(|| format!("POST {path}"))
    }

    pub async fn send(&self, path: &str, content_type: &str, body: impl Into<reqwest::Body>) -> anyhow::Result<Answer> {
        let request = self.request(Method::POST, path).header("content-type", content_type).body(body);
        Answer::of(request).await
    }

    /// Flight SQL through the router; the tenant is known by the token.
    pub async fn sql(&self) -> anyhow::Result<flight_sql::Client> {
        let channel = flight_sql::connect(&format!("http://{}", self.flight), flight_sql::Tls::default()).await?;
        Ok(flight_sql::Client::new(channel).with_bearer(&self.token())?)
    }
}
