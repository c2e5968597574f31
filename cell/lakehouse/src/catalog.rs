//! A plain Iceberg REST client, as a service on behalf of a tenant or as a user with a token.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use iceberg::spec::{Schema, TableMetadata};
use iceberg::{TableRequirement, TableUpdate};
use kit::Scope;
use kit::exchange::{Exchange, ExchangeError, answered, generation_required};
use kit::peers::PeerHttp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::names::{Namespace, TableName};

/// Path of the REST surface, before `/v1`.
const ROOT: &str = "/iceberg";

/// A catalog outside the cell's mTLS.
struct Bearer {
    client: reqwest::Client,
    base: String,
    token: kit::Secret,
}

#[async_trait]
impl Exchange for Bearer {
    async fn exchange(&self, _: &Scope, call: Request<Bytes>) -> std::result::Result<Response<Bytes>, ExchangeError> {
        let (parts, body) = call.into_parts();
        let request = self.client.request(parts.method, format!("{}{}", self.base, parts.uri));
        answered(request.bearer_auth(self.token.expose()).headers(parts.headers).body(body)).await
    }
}

/// A client of one cell's catalog. The warehouse is always the scope's tenant.
#[derive(Clone)]
pub struct Catalog {
    exchange: Arc<dyn Exchange>,
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

/// A table, and how the catalog names this state of it.
#[derive(Debug, Clone)]
pub struct Tagged {
    pub table: LoadedTable,
    /// `None` if the catalog gives none.
    pub tag: Option<String>,
    /// Bytes of the answer.
    pub bytes: usize,
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
        Self::over(Arc::new(peer))
    }

    /// Any catalog of the same surface, reached with a token; `base` has no slash at the end.
    pub fn with_token(client: reqwest::Client, base: impl Into<String>, token: kit::Secret) -> Self {
        Self::over(Arc::new(Bearer { client, base: base.into(), token }))
    }

    /// A catalog over any carrier of calls.
    pub fn over(exchange: Arc<dyn Exchange>) -> Self {
        Self { exchange }
    }

    /// The raw answer to a call below the warehouse; a body of `null` is none.
    async fn send(
        &self,
        scope: &Scope,
        method: Method,
        path: &str,
        body: &Value,
    ) -> std::result::Result<Response<Bytes>, ExchangeError> {
        let unsent = |error: http::Error| ExchangeError::Unreached(Box::new(error));
        let mut call = Request::builder().method(method).uri(format!("{ROOT}/v1/{}{path}", scope.tenant));
        let mut bytes = Bytes::new();
        if !body.is_null() {
            call = call.header(http::header::CONTENT_TYPE, "application/json");
            bytes = body.to_string().into();
        }
        self.exchange.exchange(scope, call.body(bytes).map_err(unsent)?).await
    }

    /// The table, or `None` if it is still in the state that `tag` names.
    pub async fn load_unless(&self, scope: &Scope, name: &TableName, tag: Option<&str>) -> Result<Option<Tagged>> {
        let uri = format!("{ROOT}/v1/{}{}", scope.tenant, table_path(name));
        let mut call = Request::builder().method(Method::GET).uri(uri);
        if let Some(tag) = tag {
            call = call.header(http::header::IF_NONE_MATCH, tag);
        }
        let call = call.body(Bytes::new()).map_err(|error| Error::Unreachable(error.into()))?;
        let answer = self.exchange.exchange(scope, call).await;
        if answer.as_ref().is_ok_and(|answer| answer.status() == StatusCode::NOT_MODIFIED) {
            return Ok(None);
        }
        let answer = accepted(answer, "table")?;
        let tag = answer.headers().get(http::header::ETAG).and_then(|tag| tag.to_str().ok()).map(str::to_owned);
        Ok(Some(Tagged { table: loaded(name, parsed(&answer)?), tag, bytes: answer.body().len() }))
    }

    async fn read<T: DeserializeOwned>(&self, scope: &Scope, path: &str, what: &'static str) -> Result<T> {
        parsed(&accepted(self.send(scope, Method::GET, path, &Value::Null).await, what)?)
    }

    /// All namespaces of one level: the top, or below `parent`.
    pub async fn namespaces(&self, scope: &Scope, parent: Option<&Namespace>) -> Result<Vec<Namespace>> {
        let mut found = Vec::new();
        let mut token = String::new();
        loop {
            let mut path = format!("/namespaces?pageToken={}", encoded(&token));
            if let Some(parent) = parent {
                path = format!("{path}&parent={}", encoded(&parent.levels().join("\u{1f}")));
            }
            let page: NamespacePage = self.read(scope, &path, "namespace").await?;
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
        match accepted(self.send(scope, Method::POST, "/namespaces", &body).await, "namespace") {
            Ok(_) | Err(Error::Exists(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// All tables directly in a namespace.
    pub async fn tables(&self, scope: &Scope, namespace: &Namespace) -> Result<Vec<TableName>> {
        let mut found = Vec::new();
        let mut token = String::new();
        loop {
            let path = format!("{}/tables?pageToken={}", namespace_path(namespace), encoded(&token));
            let page: TablePage = self.read(scope, &path, "namespace").await?;
            found.extend(page.identifiers);
            match page.next_page_token {
                Some(next) => token = next,
                None => return Ok(found),
            }
        }
    }

    pub async fn load(&self, scope: &Scope, name: &TableName) -> Result<LoadedTable> {
        Ok(loaded(name, self.read(scope, &table_path(name), "table").await?))
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
        let answer = accepted(self.send(scope, Method::POST, &path, &body).await, "table")?;
        Ok(loaded(name, parsed(&answer)?))
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
        let path = format!("{}?purgeRequested={purge}", table_path(name));
        accepted(self.send(scope, Method::DELETE, &path, &Value::Null).await, "table").map(drop)
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
        let answer = committed(self.send(scope, Method::POST, &table_path(name), &body).await)?;
        // It was accepted, whatever the answer looks like.
        let answer = serde_json::from_slice(answer.body()).map_err(|error| Error::CommitUnknown(Some(error.into())))?;
        Ok(loaded(name, answer))
    }

    /// Several tables' commits, all or none.
    pub async fn commit_many(&self, scope: &Scope, changes: &[TableChange]) -> Result<()> {
        let body = json!({ "table-changes": changes });
        committed(self.send(scope, Method::POST, "/transactions/commit", &body).await).map(drop)
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

fn loaded(name: &TableName, answer: LoadAnswer) -> LoadedTable {
    LoadedTable {
        name: name.clone(),
        metadata: Arc::new(answer.metadata),
        metadata_location: answer.metadata_location.unwrap_or_default(),
        config: answer.config,
    }
}

fn parsed<T: DeserializeOwned>(answer: &Response<Bytes>) -> Result<T> {
    serde_json::from_slice(answer.body()).map_err(|error| Error::Answer(error.into()))
}

type Answer = std::result::Result<Response<Bytes>, ExchangeError>;

fn accepted(answer: Answer, what: &'static str) -> Result<Response<Bytes>> {
    let answer = answer.map_err(|error| Error::Unreachable(error.into()))?;
    match answer.status() {
        status if status.is_success() => Ok(answer),
        StatusCode::NOT_FOUND => Err(Error::NotFound(what)),
        StatusCode::CONFLICT => Err(Error::Exists(what)),
        _ => Err(refusal(&answer)),
    }
}

fn committed(answer: Answer) -> Result<Response<Bytes>> {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error @ ExchangeError::Unreached(_)) => return Err(Error::Unreachable(error.into())),
        Err(error) => return Err(Error::CommitUnknown(Some(error.into()))),
    };
    match answer.status() {
        status if status.is_success() => Ok(answer),
        StatusCode::NOT_FOUND => Err(Error::NotFound("table")),
        StatusCode::CONFLICT => Err(Error::Conflict),
        StatusCode::INTERNAL_SERVER_ERROR | StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => {
            Err(Error::CommitUnknown(None))
        }
        _ => Err(refusal(&answer)),
    }
}

fn refusal(answer: &Response<Bytes>) -> Error {
    let status = answer.status();
    if status == StatusCode::MISDIRECTED_REQUEST {
        return Error::Misdirected(generation_required(answer.headers()));
    }
    let body: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    let message = body
        .pointer("/error/message")
        .or_else(|| body.get("detail"))
        .and_then(Value::as_str)
        .unwrap_or("no reason given");
    Error::Refused { status: status.as_u16(), message: message.chars().take(400).collect() }
}
