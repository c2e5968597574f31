//! A plain Iceberg REST client, as a service on behalf of a tenant or as a user with a token.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use iceberg::spec::{Schema, TableMetadata};
use iceberg::{TableRequirement, TableUpdate};
use kit::Scope;
use kit::peers::PeerHttp;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::names::{Namespace, TableName};

const TIMEOUT: Duration = Duration::from_secs(30);
/// Path of the REST surface, before `/v1`.
const ROOT: &str = "/iceberg";

#[derive(Clone)]
enum Transport {
    Peer(PeerHttp),
    Bearer { client: reqwest::Client, base: String, token: kit::Secret },
}

/// A client of one cell's catalog. The warehouse is always the scope's tenant.
#[derive(Clone)]
pub struct Catalog {
    transport: Transport,
}

/// A table as the catalog gave it.
#[derive(Debug, Clone)]
pub struct LoadedTable {
    pub name: TableName,
    pub metadata: Arc<TableMetadata>,
    pub metadata_location: String,
    /// Client settings that came with the table.
    pub config: HashMap<String, String>,
}

impl LoadedTable {
    pub fn location(&self) -> &str {
        self.metadata.location()
    }
}

/// One table's part of a commit over several.
#[derive(Debug, Clone, Serialize)]
pub struct TableChange {
    #[serde(rename = "identifier")]
    pub name: TableName,
    pub requirements: Vec<TableRequirement>,
    pub updates: Vec<TableUpdate>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct LoadAnswer {
    metadata_location: Option<String>,
    metadata: TableMetadata,
    #[serde(default)]
    config: HashMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct NamespacePage {
    namespaces: Vec<Namespace>,
    next_page_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct TablePage {
    identifiers: Vec<TableName>,
    next_page_token: Option<String>,
}

impl Catalog {
    /// The cell's catalog, reached as a service of the cell.
    pub fn new(peer: PeerHttp) -> Self {
        Self { transport: Transport::Peer(peer) }
    }

    /// Any catalog of the same surface, reached with a token; `base` has no slash at the end.
    pub fn with_token(client: reqwest::Client, base: impl Into<String>, token: kit::Secret) -> Self {
        Self { transport: Transport::Bearer { client, base: base.into(), token } }
    }

    fn request(&self, scope: &Scope, method: Method, path: &str) -> Result<RequestBuilder> {
        let path = format!("{ROOT}/v1/{}{path}", scope.tenant);
        let request = match &self.transport {
            Transport::Peer(peer) => peer
                .request(method, &path, scope)
                .map_err(|error| Error::Refused { status: 500, message: error.to_string() })?,
            Transport::Bearer { client, base, token } => {
                client.request(method, format!("{base}{path}")).bearer_auth(token.expose())
            }
        };
        Ok(request.timeout(TIMEOUT))
    }

    /// All namespaces of one level: the top, or below `parent`.
    pub async fn namespaces(&self, scope: &Scope, parent: Option<&Namespace>) -> Result<Vec<Namespace>> {
        let mut found = Vec::new();
        let mut token = String::new();
        loop {
            let mut request = self.request(scope, Method::GET, "/namespaces")?.query(&[("pageToken", &token)]);
            if let Some(parent) = parent {
                request = request.query(&[("parent", parent.levels().join("\u{1f}"))]);
            }
            let page: NamespacePage = read(accepted(request, "namespace").await?).await?;
            found.extend(page.namespaces);
            match page.next_page_token {
                Some(next) => token = next,
                None => return Ok(found),
            }
        }
    }

    /// Makes the namespace unless it is there.
    pub async fn create_namespace(&self, scope: &Scope, namespace: &Namespace) -> Result<()> {
        let body = json!({ "namespace": namespace, "properties": {} });
        match accepted(self.request(scope, Method::POST, "/namespaces")?.json(&body), "namespace").await {
            Ok(_) | Err(Error::Exists(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// All tables directly in a namespace.
    pub async fn tables(&self, scope: &Scope, namespace: &Namespace) -> Result<Vec<TableName>> {
        let mut found = Vec::new();
        let mut token = String::new();
        loop {
            let request = self
                .request(scope, Method::GET, &format!("{}/tables", namespace_path(namespace)))?
                .query(&[("pageToken", &token)]);
            let page: TablePage = read(accepted(request, "namespace").await?).await?;
            found.extend(page.identifiers);
            match page.next_page_token {
                Some(next) => token = next,
                None => return Ok(found),
            }
        }
    }

    pub async fn load(&self, scope: &Scope, name: &TableName) -> Result<LoadedTable> {
        let request = self.request(scope, Method::GET, &table_path(name))?;
        loaded(name, accepted(request, "table").await?).await
    }

    /// Makes a table (format version 2, not partitioned); [`Error::Exists`] if there is one.
    pub async fn create_table(
        &self,
        scope: &Scope,
        name: &TableName,
        schema: &Schema,
        properties: HashMap<String, String>,
    ) -> Result<LoadedTable> {
        let body = json!({ "name": name.name(), "schema": schema, "properties": properties, "stage-create": false });
        let path = format!("{}/tables", namespace_path(name.namespace()));
        loaded(name, accepted(self.request(scope, Method::POST, &path)?.json(&body), "table").await?).await
    }

    /// The table, made first (with its namespace) if it is not there.
    pub async fn ensure_table(
        &self,
        scope: &Scope,
        name: &TableName,
        schema: &Schema,
        properties: HashMap<String, String>,
    ) -> Result<LoadedTable> {
        match self.load(scope, name).await {
            Err(Error::NotFound(_)) => {}
            outcome => return outcome,
        }
        self.create_namespace(scope, name.namespace()).await?;
        match self.create_table(scope, name, schema, properties).await {
            Err(Error::Exists(_)) => self.load(scope, name).await,
            outcome => outcome,
        }
    }

    /// Takes the table out of the catalog; `purge` asks for its files to be deleted too.
    pub async fn drop_table(&self, scope: &Scope, name: &TableName, purge: bool) -> Result<()> {
        let request = self.request(scope, Method::DELETE, &table_path(name))?.query(&[("purgeRequested", purge)]);
        accepted(request, "table").await.map(drop)
    }

    /// One table's commit. [`Error::Conflict`]: reload, rebuild, try again. [`Error::CommitUnknown`]:
    /// only the table can tell whether it happened.
    pub async fn commit(
        &self,
        scope: &Scope,
        name: &TableName,
        requirements: &[TableRequirement],
        updates: &[TableUpdate],
    ) -> Result<LoadedTable> {
        let body = json!({ "identifier": name, "requirements": requirements, "updates": updates });
        let response = committed(self.request(scope, Method::POST, &table_path(name))?.json(&body)).await?;
        loaded(name, response).await.map_err(|error| match error {
            // It was accepted, and the answer broke off on the way.
            Error::Answer(source) => Error::CommitUnknown(Some(source)),
            other => other,
        })
    }

    /// Several tables' commits, all or none.
    pub async fn commit_many(&self, scope: &Scope, changes: &[TableChange]) -> Result<()> {
        let body = json!({ "table-changes": changes });
        committed(self.request(scope, Method::POST, "/transactions/commit")?.json(&body)).await.map(drop)
    }
}

fn namespace_path(namespace: &Namespace) -> String {
    let levels: Vec<String> = namespace.levels().iter().map(|level| encoded(level)).collect();
    format!("/namespaces/{}", levels.join("%1F"))
}

fn table_path(name: &TableName) -> String {
    format!("{}/tables/{}", namespace_path(name.namespace()), encoded(name.name()))
}

/// Percent-encoding of one path segment (RFC 3986 unreserved characters stay).
fn encoded(segment: &str) -> String {
    let mut out = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

async fn loaded(name: &TableName, response: Response) -> Result<LoadedTable> {
    let answer: LoadAnswer = read(response).await?;
    Ok(LoadedTable {
        name: name.clone(),
        metadata: Arc::new(answer.metadata),
        metadata_location: answer.metadata_location.unwrap_or_default(),
        config: answer.config,
    })
}

async fn read<T: DeserializeOwned>(response: Response) -> Result<T> {
    response.json().await.map_err(Error::Answer)
}

async fn accepted(request: RequestBuilder, what: &'static str) -> Result<Response> {
    let response = request.send().await.map_err(Error::Unreachable)?;
    match response.status() {
        status if status.is_success() => Ok(response),
        StatusCode::NOT_FOUND => Err(Error::NotFound(what)),
        StatusCode::CONFLICT => Err(Error::Exists(what)),
        _ => Err(refusal(response).await),
    }
}

async fn committed(request: RequestBuilder) -> Result<Response> {
    let response = match request.send().await {
        Ok(response) => response,
        Err(error) if error.is_connect() => return Err(Error::Unreachable(error)),
        Err(error) => return Err(Error::CommitUnknown(Some(error))),
    };
    match response.status() {
        status if status.is_success() => Ok(response),
        StatusCode::NOT_FOUND => Err(Error::NotFound("table")),
        StatusCode::CONFLICT => Err(Error::Conflict),
        StatusCode::INTERNAL_SERVER_ERROR | StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => {
            Err(Error::CommitUnknown(None))
        }
        _ => Err(refusal(response).await),
    }
}

async fn refusal(response: Response) -> Error {
    let status = response.status();
    if status == StatusCode::MISDIRECTED_REQUEST {
        let required = response.headers().get(contracts::headers::GENERATION_REQUIRED);
        return Error::Misdirected(required.and_then(|value| value.to_str().ok()?.parse().ok()));
    }
    let body: Value = response.json().await.unwrap_or_default();
    let message = body
        .pointer("/error/message")
        .or_else(|| body.get("detail"))
        .and_then(Value::as_str)
        .unwrap_or("no reason given");
    Error::Refused { status: status.as_u16(), message: message.chars().take(400).collect() }
}
