//! What a client outside the cell is given to reach the bucket.

use std::collections::BTreeMap;

use contracts::claims::scope::CATALOG_WRITE;
use kit::service::BucketEndpoint;
use kit::{Actor, Scope};
use lakehouse::TableName;
use lakehouse::credentials::Rights;

use super::Catalog;
use crate::error::Result;

/// Whether the client asked for credentials (`X-Iceberg-Access-Delegation`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delegation {
    None,
    VendedCredentials,
}

impl Delegation {
    pub fn parse(header: Option<&str>) -> Self {
        let asked = header.is_some_and(|list| list.split(',').any(|way| way.trim() == "vended-credentials"));
        if asked { Self::VendedCredentials } else { Self::None }
    }
}

/// The bucket as a client outside the cell addresses it.
pub(super) struct ClientEndpoint {
    endpoint: String,
    region: String,
}

impl ClientEndpoint {
    pub(super) fn new(endpoint: &BucketEndpoint, public: Option<String>) -> Self {
        Self { endpoint: public.unwrap_or_else(|| endpoint.endpoint.clone()), region: endpoint.region.clone() }
    }

    fn config(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            ("s3.endpoint".to_owned(), self.endpoint.clone()),
            ("s3.region".to_owned(), self.region.clone()),
            ("client.region".to_owned(), self.region.clone()),
            ("s3.path-style-access".to_owned(), "true".to_owned()),
        ])
    }
}

impl Catalog {
    /// Settings that say where the bucket is, without a secret in them.
    pub fn client_config(&self) -> BTreeMap<String, String> {
        self.client.config()
    }

    /// Those settings with credentials for the tenant's prefix, for a user that asked for them.
    /// Services have the cell's own and get none; without a role to assume nothing is vended.
    pub async fn delegated(&self, scope: &Scope, delegation: Delegation) -> Result<Option<BTreeMap<String, String>>> {
        let (Actor::User(_), Delegation::VendedCredentials, Some(vendor)) = (&scope.actor, delegation, &self.vendor)
        else {
            return Ok(None);
        };
        let rights = if scope.require(CATALOG_WRITE).is_ok() { Rights::ReadWrite } else { Rights::Read };
        let vended = vendor.vend(&scope.tenant, rights).await?;
        let mut config = self.client.config();
        let expires = (vended.expires.unix_timestamp_nanos() / 1_000_000).to_string();
        config.insert("s3.access-key-id".to_owned(), vended.access_key);
        config.insert("s3.secret-access-key".to_owned(), vended.secret.expose().to_owned());
        config.insert("s3.session-token".to_owned(), vended.session_token.expose().to_owned());
        config.insert("s3.session-token-expires-at-ms".to_owned(), expires);
        Ok(Some(config))
    }

    /// The prefix vended credentials are good for.
    pub fn credential_prefix(&self, scope: &Scope) -> String {
        self.bucket.tenant(&scope.tenant).location("")
    }

    /// Fresh credentials for a table the caller can see.
    pub async fn table_credentials(
        &self,
        scope: &Scope,
        warehouse: &str,
        name: &TableName,
    ) -> Result<Option<BTreeMap<String, String>>> {
        self.table_exists(scope, warehouse, name).await?;
        self.delegated(scope, Delegation::VendedCredentials).await
    }
}
