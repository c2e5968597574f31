//! The global plane's API: organisations, tenants, cells, machine users.

use std::collections::BTreeMap;

use anyhow::Context;
use reqwest::Method;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::api::{Api, ApiError, Page};
use super::credential::{ClientSecret, Credential};

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tenant {
    pub id: String,
    pub organisation: String,
    pub host: String,
    pub cell: String,
    pub generation: u64,
    pub tier: String,
    pub state: String,
}

/// A tenant on its way to another cell.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Move {
    pub id: String,
    pub tenant: String,
    pub from: String,
    pub to: String,
    pub step: String,
    /// Why the step did not succeed when it was last tried.
    pub problem: Option<String>,
    pub waited_ms: Option<i64>,
}

/// A cell that is emptied.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Drain {
    pub id: String,
    pub cell: String,
    /// `under_way`, `done` or `cancelled`.
    pub state: String,
    /// When it began, and now.
    pub tenants: u64,
    pub left: u64,
    pub problem: Option<String>,
}

/// What emptying a cell would do: how many tenants each other cell would get.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DrainPlan {
    pub tenants: u64,
    /// What routers bring them now; unknown where none has told.
    pub requests_per_second: Option<u64>,
    pub to: BTreeMap<String, u64>,
}

/// Limits of each tenant; 0 = none.
#[derive(Debug, Serialize, Deserialize, clap::Args)]
#[serde(rename_all = "camelCase")]
pub struct Tier {
    /// 2 to 39 characters of a-z, 0-9 and '-'.
    #[serde(skip_serializing)]
    pub id: String,
    #[arg(long, default_value_t = 0)]
    pub requests_per_second: u32,
    /// Requests that may come at once.
    #[arg(long, default_value_t = 0)]
    pub request_burst: u32,
    /// Requests under way.
    #[arg(long, default_value_t = 0)]
    pub concurrent_requests: u32,
    /// Bytes of bodies, both ways together.
    #[arg(long, default_value_t = 0)]
    pub bytes_per_second: u64,
    /// Bytes that may come at once.
    #[arg(long, default_value_t = 0)]
    pub byte_burst: u64,
    /// Longest body of a request, in bytes.
    #[arg(long, default_value_t = 0)]
    pub body_bytes: u64,
    /// Of a full router, its tenants get so many times what one of weight 1 gets.
    #[arg(long, default_value_t = 1)]
    pub weight: u32,
}

#[derive(Debug, Deserialize)]
pub struct Cell {
    pub id: String,
    pub http: String,
    pub flight: String,
    pub kind: String,
    pub state: String,
    pub tenants: u64,
    /// Tenants it takes at most; 0 = no limit.
    pub capacity: u64,
    pub region: Option<String>,
    pub contracts: Option<CellContracts>,
}

#[derive(Debug, Deserialize)]
pub struct CellContracts {
    pub version: u32,
    pub drift: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ServiceAccount {
    client_id: String,
    client_secret: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Key {
    pub id: String,
    pub name: String,
    /// Enough of it to recognise it.
    pub prefix: String,
    /// None: every tenant its account is a member of.
    pub tenant: Option<String>,
    /// None: everything its account may do.
    pub scopes: Option<Vec<String>>,
    pub expires_at: Option<String>,
    pub last_used_at: Option<String>,
}

#[derive(Deserialize)]
struct NewKey {
    secret: String,
}

#[derive(Deserialize)]
struct Member {
    subject: String,
}

#[derive(Debug, Default, Serialize)]
pub struct NewTenant<'a> {
    pub id: &'a str,
    pub organisation: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cell: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apart: Option<&'a str>,
}

/// A group of routers.
#[derive(Debug, Deserialize)]
pub struct RouterGroup {
    pub id: String,
    pub addresses: Vec<String>,
}

/// What changes in a cell; what is absent stays.
#[derive(Debug, Default, Serialize)]
pub struct CellChange {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub door: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
}

/// The global plane as one bearer sees it.
pub struct Global {
    api: Api,
    credential: Credential,
}

impl Global {
    pub fn new(api: &Api, credential: Credential) -> Self {
        Self { api: api.clone(), credential }
    }

    async fn call<T: DeserializeOwned>(
        &self,
        what: &str,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<T, ApiError> {
        let mut request = self.api.request(method, "global", path).bearer_auth(self.credential.token().await?);
        if let Some(body) = body {
            request = request.json(&body);
        }
        self.api.json(what, request).await
    }

    async fn all<T: DeserializeOwned>(&self, what: &str, path: &str) -> Result<Vec<T>, ApiError> {
        let mut rows = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let mut request = self.api.request(Method::GET, "global", path).bearer_auth(self.credential.token().await?);
            request = request.query(&[("pageSize", "100")]);
            if let Some(token) = &token {
                request = request.query(&[("pageToken", token)]);
            }
            let page: Page<T> = self.api.json(what, request).await?;
            rows.extend(page.data);
            token = page.next_page_token.filter(|t| !t.is_empty());
            if token.is_none() {
                return Ok(rows);
            }
        }
    }

    pub async fn cells(&self) -> Result<Vec<Cell>, ApiError> {
        self.all("list cells", "/api/v1/cells").await
    }

    pub async fn change_cell(&self, id: &str, change: &CellChange) -> anyhow::Result<Cell> {
        let path = format!("/api/v1/cells/{id}");
        let known: Value = self.call(&format!("look at cell {id}"), Method::GET, &path, None).await?;
        let mut body = serde_json::to_value(change)?;
        for name in ["http", "flight", "kind"] {
            body[name] = known[name].clone();
        }
        Ok(self.call(&format!("change cell {id}"), Method::PUT, &path, Some(body)).await?)
    }

    pub async fn tenants(&self) -> Result<Vec<Tenant>, ApiError> {
        self.all("list tenants", "/api/v1/tenants").await
    }

    /// Creates the organisation unless it is there.
    pub async fn ensure_organisation(&self, id: &str, name: &str) -> Result<(), ApiError> {
        let body = json!({ "id": id, "name": name });
        let what = format!("create organisation {id}");
        let _view: Value = self.call(&what, Method::POST, "/api/v1/organisations", Some(body)).await?;
        Ok(())
    }

    /// Creates the tenant, or answers with the one that exists in that organisation.
    pub async fn ensure_tenant(&self, new: &NewTenant<'_>) -> anyhow::Result<Tenant> {
        let (id, body) = (new.id, serde_json::to_value(new)?);
        let what = format!("create tenant {id}");
        let tenant: Tenant = self.call(&what, Method::POST, "/api/v1/tenants", Some(body)).await?;
        if let Some(wanted) = new.cell
            && tenant.cell != wanted
        {
            anyhow::bail!("tenant {id} lives in cell {}, not in {wanted}", tenant.cell);
        }
        Ok(tenant)
    }

    pub async fn begin_move(&self, tenant: &str, to: &str) -> Result<Move, ApiError> {
        let (what, path) = (format!("move {tenant} to {to}"), format!("/api/v1/tenants/{tenant}/moves"));
        self.call(&what, Method::POST, &path, Some(json!({ "cell": to }))).await
    }

    pub async fn cancel_move(&self, tenant: &str) -> Result<Move, ApiError> {
        let (what, path) = (format!("cancel the move of {tenant}"), format!("/api/v1/tenants/{tenant}/moves"));
        self.call(&what, Method::DELETE, &path, None).await
    }

    /// The move as it is now.
    pub async fn find_move(&self, known: &Move) -> anyhow::Result<Move> {
        let path = format!("/api/v1/tenants/{}/moves", known.tenant);
        let all: Vec<Move> = self.all("look at the move", &path).await?;
        all.into_iter().find(|one| one.id == known.id).context("the move is gone")
    }

    /// All that are under way.
    pub async fn moves(&self) -> Result<Vec<Move>, ApiError> {
        self.call("list moves", Method::GET, "/api/v1/moves", None).await
    }

    pub async fn plan_drain(&self, cell: &str, to: Option<&str>) -> Result<DrainPlan, ApiError> {
        let request = self.api.request(Method::GET, "global", &format!("/api/v1/cells/{cell}/drains/plan"));
        let request = request.query(&to.map(|to| [("to", to)])).bearer_auth(self.credential.token().await?);
        self.api.json(&format!("plan to empty {cell}"), request).await
    }

    /// `way` is `move` or `route`.
    pub async fn begin_drain(&self, cell: &str, way: &str, to: Option<&str>) -> Result<Drain, ApiError> {
        let body = match to {
            Some(to) => json!({ "way": way, "to": to }),
            None => json!({ "way": way }),
        };
        let path = format!("/api/v1/cells/{cell}/drains");
        self.call(&format!("empty {cell}"), Method::POST, &path, Some(body)).await
    }

    pub async fn cancel_drain(&self, cell: &str) -> Result<Drain, ApiError> {
        let path = format!("/api/v1/cells/{cell}/drains");
        self.call(&format!("stop emptying {cell}"), Method::DELETE, &path, None).await
    }

    /// Those of a cell, newest first.
    pub async fn drains(&self, cell: &str) -> Result<Vec<Drain>, ApiError> {
        self.all(&format!("list the drains of {cell}"), &format!("/api/v1/cells/{cell}/drains")).await
    }

    pub async fn give_tier(&self, tenant: &str, tier: &str) -> Result<Tenant, ApiError> {
        let (what, path) = (format!("give {tenant} the tier {tier}"), format!("/api/v1/tenants/{tenant}/tier"));
        self.call(&what, Method::PUT, &path, Some(json!({ "tier": tier }))).await
    }

    /// All of them, or those that serve a tenant.
    pub async fn router_groups(&self, tenant: Option<&str>) -> Result<Vec<RouterGroup>, ApiError> {
        let of = tenant.map(|tenant| format!("/tenants/{tenant}")).unwrap_or_default();
        self.all("list groups of routers", &format!("/api/v1{of}/router-groups")).await
    }

    pub async fn set_router_group(&self, id: &str, addresses: &[std::net::IpAddr]) -> Result<RouterGroup, ApiError> {
        let (what, path) = (format!("set the group {id}"), format!("/api/v1/router-groups/{id}"));
        self.call(&what, Method::PUT, &path, Some(json!({ "addresses": addresses }))).await
    }

    pub async fn remove_router_group(&self, id: &str) -> Result<(), ApiError> {
        self.delete(&format!("remove the group {id}"), &format!("/api/v1/router-groups/{id}")).await
    }

    pub async fn tiers(&self) -> Result<Vec<Tier>, ApiError> {
        self.all("list tiers", "/api/v1/tiers").await
    }

    pub async fn set_tier(&self, tier: &Tier) -> anyhow::Result<Tier> {
        let (what, path) = (format!("set tier {}", tier.id), format!("/api/v1/tiers/{}", tier.id));
        Ok(self.call(&what, Method::PUT, &path, Some(serde_json::to_value(tier)?)).await?)
    }

    pub async fn remove_tier(&self, id: &str) -> Result<(), ApiError> {
        self.delete(&format!("remove tier {id}"), &format!("/api/v1/tiers/{id}")).await
    }

    pub async fn organisation_of(&self, tenant: &str) -> Result<String, ApiError> {
        let known: Tenant =
            self.call(&format!("look at {tenant}"), Method::GET, &format!("/api/v1/tenants/{tenant}"), None).await?;
        Ok(known.organisation)
    }

    /// Makes a key of the account that is good in the tenant; answers the key itself.
    pub async fn create_key(&self, account: &str, name: &str, tenant: &str, days: u32) -> Result<String, ApiError> {
        let body = json!({ "subject": account, "name": name, "tenant": tenant, "expiresInDays": days });
        let made: NewKey = self.call(&format!("make key {name}"), Method::POST, "/api/v1/api-keys", Some(body)).await?;
        Ok(made.secret)
    }

    /// Of all members of a tenant, those that are good in it.
    pub async fn keys(&self, tenant: &str) -> Result<Vec<Key>, ApiError> {
        let members: Vec<Member> =
            self.all(&format!("list the members of {tenant}"), &format!("/api/v1/tenants/{tenant}/members")).await?;
        let mut keys = Vec::new();
        for member in members {
            let path = format!("/api/v1/api-keys?subject={}", member.subject);
            let own: Vec<Key> = self.all("list keys", &path).await?;
            keys.extend(own.into_iter().filter(|key| key.tenant.as_deref().is_none_or(|bound| bound == tenant)));
        }
        Ok(keys)
    }

    pub async fn revoke_key(&self, id: &str) -> Result<(), ApiError> {
        self.delete(&format!("revoke key {id}"), &format!("/api/v1/api-keys/{id}")).await
    }

    async fn delete(&self, what: &str, path: &str) -> Result<(), ApiError> {
        let request = self.api.request(Method::DELETE, "global", path).bearer_auth(self.credential.token().await?);
        self.api.send(what, request).await.map(drop)
    }

    /// Makes a machine user of the organisation that may do this much inside the tenant.
    pub async fn machine_user(
        &self,
        name: &str,
        organisation: &str,
        tenant: &str,
        scopes: &[String],
    ) -> anyhow::Result<ClientSecret> {
        let body = json!({ "name": name, "organisation": organisation });
        let what = format!("create service account {name}");
        let account: ServiceAccount = self.call(&what, Method::POST, "/api/v1/service-accounts", Some(body)).await?;
        let path = format!("/api/v1/tenants/{tenant}/members/{}", account.client_id);
        let what = format!("make {name} a member of {tenant}");
        let _member: Value =
            self.call(&what, Method::PUT, &path, Some(json!({ "scopes": scopes }))).await.context("membership")?;
        Ok(ClientSecret { client_id: account.client_id, client_secret: account.client_secret })
    }
}
