//! Tables as they were last loaded. The catalog is asked each time, and sends a table again only if it has changed.

use std::sync::Arc;

use contracts::TenantId;
use kit::Scope;
use lakehouse::{Catalog, LoadedTable, Result, TableName, Tagged};
use moka::future::Cache;

/// Bytes of answers that are kept; parsed, a table takes about twice as much.
const KEPT_BYTES: u64 = 32 << 20;

pub(super) struct KnownTables {
    catalog: Catalog,
    /// The tenant is part of the key: a name means another table to each.
    kept: Cache<(TenantId, TableName), Arc<Tagged>>,
}

impl KnownTables {
    pub(super) fn new(catalog: Catalog) -> Self {
        let weight = |_: &(TenantId, TableName), known: &Arc<Tagged>| u32::try_from(known.bytes).unwrap_or(u32::MAX);
        Self { catalog, kept: Cache::builder().max_capacity(KEPT_BYTES).weigher(weight).build() }
    }

    pub(super) fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The table as it is now.
    pub(super) async fn load(&self, scope: &Scope, name: &TableName) -> Result<LoadedTable> {
        let key = (scope.tenant.clone(), name.clone());
        let known = self.kept.get(&key).await;
        let tag = known.as_ref().and_then(|known| known.tag.as_deref());
        match (self.catalog.load_unless(scope, name, tag).await, known) {
            (Ok(None), Some(known)) => Ok(known.table.clone()),
            // Asked without a tag, a catalog has no reason to answer so.
            (Ok(None), None) => self.catalog.load(scope, name).await,
            (Ok(Some(fresh)), _) => {
                let fresh = Arc::new(fresh);
                if fresh.tag.is_some() {
                    self.kept.insert(key, Arc::clone(&fresh)).await;
                }
                Ok(fresh.table.clone())
            }
            (Err(error), _) => {
                if error.is_not_found() {
                    self.kept.invalidate(&key).await;
                }
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;
    use bytes::Bytes;
    use http::header::{ETAG, IF_NONE_MATCH};
    use http::{Request, Response};
    use kit::exchange::{Exchange, ExchangeError};
    use serde_json::json;

    use super::*;

    /// A catalog whose every tenant has the table; `state` is its state, 0 = dropped.
    #[derive(Default)]
    struct Server {
        state: AtomicUsize,
        sent: AtomicUsize,
    }

    #[async_trait]
    impl Exchange for Server {
        async fn exchange(
            &self,
            scope: &Scope,
            call: Request<Bytes>,
        ) -> std::result::Result<Response<Bytes>, ExchangeError> {
            let state = self.state.load(Ordering::SeqCst);
            let tag = format!("\"{}-{state}\"", scope.tenant);
            let known = call.headers().get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
            let (status, body) = match state {
                0 => (404, Bytes::new()),
                _ if known => (304, Bytes::new()),
                _ => {
                    self.sent.fetch_add(1, Ordering::SeqCst);
                    (200, table(&format!("t/{}/metadata/{state}.json", scope.tenant)))
                }
            };
            Ok(Response::builder().status(status).header(ETAG, tag).body(body).unwrap())
        }
    }

    fn table(location: &str) -> Bytes {
        let metadata = json!({
            "format-version": 2, "table-uuid": uuid::Uuid::nil(), "location": "s3://warehouse/t/x",
            "last-sequence-number": 0, "last-updated-ms": 1, "last-column-id": 1, "current-schema-id": 0,
            "schemas": [{ "type": "struct", "schema-id": 0, "fields": [{ "id": 1, "name": "id", "required": false, "type": "long" }] }],
            "default-spec-id": 0, "partition-specs": [{ "spec-id": 0, "fields": [] }], "last-partition-id": 999,
            "default-sort-order-id": 0, "sort-orders": [{ "order-id": 0, "fields": [] }],
        });
        json!({ "metadata-location": location, "metadata": metadata }).to_string().into()
    }

    fn scope(tenant: &str) -> Scope {
        Scope::of_service("reader", TenantId::new(tenant).unwrap(), contracts::Generation(1))
    }

    #[tokio::test]
    async fn a_table_is_sent_again_when_it_has_changed_and_never_to_another_tenant() {
        let server = Arc::new(Server::default());
        server.state.store(1, Ordering::SeqCst);
        let known = KnownTables::new(Catalog::over(server.clone()));
        let name = TableName::new("datasets".parse().unwrap(), "orders").unwrap();
        let (acme, globex) = (scope("acme"), scope("globex"));
        for _ in 0..3 {
            let table = known.load(&acme, &name).await.unwrap();
            assert_eq!(table.metadata_location, "t/acme/metadata/1.json");
        }
        assert_eq!(server.sent.load(Ordering::SeqCst), 1);
        assert_eq!(known.load(&globex, &name).await.unwrap().metadata_location, "t/globex/metadata/1.json");
        server.state.store(2, Ordering::SeqCst);
        assert_eq!(known.load(&acme, &name).await.unwrap().metadata_location, "t/acme/metadata/2.json");
        assert_eq!(server.sent.load(Ordering::SeqCst), 3);
        server.state.store(0, Ordering::SeqCst);
        assert!(known.load(&acme, &name).await.unwrap_err().is_not_found());
        assert!(known.kept.get(&(acme.tenant.clone(), name.clone())).await.is_none());
    }
}
