//! The service over its own HTTP surface, on a real Postgres.

mod commits;
mod decisions;
mod orphans;
mod strangers;
mod tables;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Request, StatusCode};
use kit::metrics::Metrics;
use kit::service::{BucketEndpoint, Service as _};
use kit::{Scope, Secret};
use lakehouse::Bucket;
use object_store::memory::InMemory;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::config::Settings;
use crate::ops::Catalog;

/// The service on a database of its own and a bucket in memory.
struct Rig {
    router: Router,
    catalog: Arc<Catalog>,
    bucket: Bucket,
}

#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
    text: String,
}

impl Answer {
    fn error(&self) -> &str {
        self.body.pointer("/error/type").and_then(Value::as_str).unwrap_or("no error")
    }
}

async fn rig() -> anyhow::Result<Rig> {
    kit::tls::install_provider();
    let migrator = crate::IcebergCatalog.migrator().ok_or_else(|| anyhow::anyhow!("no migrations"))?;
    let database = testkit::database(&migrator).await?;
    let bucket = Bucket::over(Arc::new(InMemory::new()), "warehouse");
    let endpoint = BucketEndpoint {
        endpoint: "http://127.0.0.1:1".into(),
        region: "us-east-1".into(),
        name: "warehouse".into(),
        access_key: "key".into(),
        secret: Secret::new("never shown"),
        role_arn: None,
    };
    let settings = Settings { max_metadata_bytes: 1 << 20, ..Settings::default() };
    let catalog = Catalog::new(database, bucket.clone(), &endpoint, settings, &Metrics::default())?;
    let catalog = Arc::new(catalog);
    Ok(Rig { router: crate::api::router(Arc::clone(&catalog)), catalog, bucket })
}

impl Rig {
    async fn send(
        &self,
        scope: &Scope,
        method: &str,
        path: &str,
        body: Option<Value>,
        extra: &[(&str, &str)],
    ) -> anyhow::Result<Answer> {
        let mut request = Request::builder().method(method).uri(format!("/iceberg/v1{path}"));
        for (name, value) in &scope.to_headers()? {
            request = request.header(name, value);
        }
        for (name, value) in extra {
            request = request.header(*name, *value);
        }
        let body = body.map_or_else(Body::empty, |value| Body::from(value.to_string()));
        let response = self.router.clone().oneshot(request.body(body)?).await?;
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, 64 << 20).await?;
        let text = String::from_utf8(bytes.to_vec())?;
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok(Answer { status: parts.status, headers: parts.headers, body, text })
    }

    async fn get(&self, scope: &Scope, path: &str) -> anyhow::Result<Answer> {
        self.send(scope, "GET", path, None, &[]).await
    }

    async fn post(&self, scope: &Scope, path: &str, body: Value) -> anyhow::Result<Answer> {
        self.send(scope, "POST", path, Some(body), &[]).await
    }

    /// A namespace `ns` with a table in it.
    async fn with_table(&self, scope: &Scope, table: &str) -> anyhow::Result<()> {
        let prefix = &scope.tenant;
        self.post(scope, &format!("/{prefix}/namespaces"), json!({ "namespace": ["ns"] })).await?;
        let made = self.post(scope, &format!("/{prefix}/namespaces/ns/tables"), new_table(table)).await?;
        anyhow::ensure!(made.status == StatusCode::OK, "{}", made.text);
        Ok(())
    }
}

fn new_table(name: &str) -> Value {
    json!({ "name": name, "schema": {
        "type": "struct",
        "fields": [{ "id": 1, "name": "id", "type": "long", "required": true }, { "id": 2, "name": "text", "type": "string", "required": false }],
    } })
}

/// An `add-snapshot` that makes `id` the current snapshot of `main`.
fn snapshot(id: i64, sequence: i64, list: &str) -> Value {
    let now = time::OffsetDateTime::now_utc().unix_timestamp() * 1000;
    json!([
        { "action": "add-snapshot", "snapshot": { "snapshot-id": id, "sequence-number": sequence, "timestamp-ms": now,
            "manifest-list": list, "summary": { "operation": "append" }, "schema-id": 0 } },
        { "action": "set-snapshot-ref", "ref-name": "main", "type": "branch", "snapshot-id": id },
    ])
}
