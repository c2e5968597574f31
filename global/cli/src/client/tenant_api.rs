//! A tenant's own API: streams, datasets, lineage, audit.

use bytes::Bytes;
use reqwest::{Body, Method, RequestBuilder, StatusCode, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::api::{Api, ApiError, Page};
use super::credential::Credential;

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stream {
    pub id: String,
    pub name: String,
    /// `<namespace>.<table>` in the tenant's catalog.
    pub table: String,
    /// Rows acknowledged by the data bus.
    pub accepted_rows: u64,
    /// Rows the sink has made visible in the table.
    pub committed_rows: u64,
}

/// What became of a pushed batch.
#[derive(Debug, Clone, Deserialize)]
pub struct Pushed {
    /// Rows acknowledged by the data bus.
    pub accepted: u64,
    #[serde(default)]
    pub rejected: u64,
    #[serde(default)]
    pub errors: Vec<Value>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Dataset {
    pub id: String,
    pub name: String,
}

/// A committed upload.
#[derive(Debug, Clone, Deserialize)]
pub struct Uploaded {
    pub rows: u64,
}

/// One tenant as one bearer sees it.
#[derive(Clone)]
pub struct TenantApi {
    api: Api,
    credential: Credential,
    tenant: String,
}

impl TenantApi {
    pub fn new(api: &Api, credential: Credential, tenant: &str) -> Self {
        Self { api: api.clone(), credential, tenant: tenant.to_owned() }
    }

    /// The same bearer at another tenant's host: to prove that it opens nothing there.
    pub fn at(&self, tenant: &str) -> Self {
        Self { tenant: tenant.to_owned(), ..self.clone() }
    }

    async fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, ApiError> {
        Ok(self.api.request(method, &self.tenant, path).bearer_auth(self.credential.token().await?))
    }

    pub async fn get<T: DeserializeOwned>(&self, what: &str, path: &str) -> Result<T, ApiError> {
        self.api.json(what, self.request(Method::GET, path).await?).await
    }

    async fn post<T: DeserializeOwned>(&self, what: &str, path: &str, body: &Value) -> Result<T, ApiError> {
        self.api.json(what, self.request(Method::POST, path).await?.json(body)).await
    }

    /// Rows of a list whose every row has a name.
    async fn named<T: DeserializeOwned>(
        &self,
        what: &str,
        path: &str,
        is_it: impl Fn(&T) -> bool,
    ) -> Result<Option<T>, ApiError> {
        let mut token = String::new();
        loop {
            let mut request = self.request(Method::GET, path).await?.query(&[("pageSize", "100")]);
            if !token.is_empty() {
                request = request.query(&[("pageToken", &token)]);
            }
            let page: Page<T> = self.api.json(what, request).await?;
            if let Some(row) = page.data.into_iter().find(&is_it) {
                return Ok(Some(row));
            }
            match page.next_page_token.filter(|t| !t.is_empty()) {
                Some(next) => token = next,
                None => return Ok(None),
            }
        }
    }

    pub async fn stream(&self, name: &str) -> Result<Option<Stream>, ApiError> {
        self.named("list streams", "/api/v1/streams", |s: &Stream| s.name == name).await
    }

    pub async fn create_stream(&self, name: &str, fields: &Value) -> Result<Stream, ApiError> {
        let body = json!({ "name": name, "schema": { "fields": fields } });
        self.post(&format!("create stream {name}"), "/api/v1/streams", &body).await
    }

    pub async fn delete_stream(&self, stream: &Stream) -> Result<(), ApiError> {
        let request = self.request(Method::DELETE, &format!("/api/v1/streams/{}", stream.id)).await?;
        self.api.send(&format!("delete stream {}", stream.name), request).await?;
        Ok(())
    }

    /// Pushes rows as NDJSON. The answer comes when the bus has them on disk.
    pub async fn push(&self, stream: &Stream, rows: Bytes) -> Result<Pushed, ApiError> {
        let request = self
            .request(Method::POST, &format!("/api/v1/streams/{}/records", stream.id))
            .await?
            .header(header::CONTENT_TYPE, "application/x-ndjson")
            .body(rows);
        self.api.json("push rows", request).await
    }

    /// The stream as it is now.
    pub async fn reload(&self, stream: &Stream) -> Result<Stream, ApiError> {
        self.get(&format!("read stream {}", stream.name), &format!("/api/v1/streams/{}", stream.id)).await
    }

    pub async fn streams(&self) -> Result<Vec<Stream>, ApiError> {
        let page: Page<Stream> = self.get("list streams", "/api/v1/streams?pageSize=100").await?;
        Ok(page.data)
    }

    /// Drops a table of the catalog with its files; answers whether there was one.
    pub async fn drop_table(&self, namespace: &str, table: &str) -> Result<bool, ApiError> {
        let path = format!("/iceberg/v1/{}/namespaces/{namespace}/tables/{table}?purgeRequested=true", self.tenant);
        match self
            .api
            .send(&format!("drop table {namespace}.{table}"), self.request(Method::DELETE, &path).await?)
            .await
        {
            Ok(_) => Ok(true),
            Err(error) if error.status() == Some(StatusCode::NOT_FOUND) => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub async fn dataset(&self, name: &str) -> Result<Option<Dataset>, ApiError> {
        self.named("list datasets", "/api/v1/datasets", |d: &Dataset| d.name == name).await
    }

    pub async fn ensure_dataset(&self, name: &str) -> Result<Dataset, ApiError> {
        if let Some(found) = self.dataset(name).await? {
            return Ok(found);
        }
        self.post(&format!("create dataset {name}"), "/api/v1/datasets", &json!({ "name": name })).await
    }

    /// Replaces the dataset's content by a CSV file, streamed; `NA` means "no value".
    pub async fn upload_csv(&self, dataset: &Dataset, body: Body) -> Result<Uploaded, ApiError> {
        let request = self
            .request(Method::POST, &format!("/api/v1/datasets/{}/upload?type=SNAPSHOT&null=NA", dataset.id))
            .await?
            .header(header::CONTENT_TYPE, "text/csv")
            .body(body);
        self.api.json(&format!("upload {}", dataset.name), request).await
    }
}
