//! What a token says.

use serde::{Deserialize, Serialize};

use crate::TenantId;

/// Longest life of a token, in seconds.
pub const MAX_TOKEN_SECONDS: i64 = 15 * 60;
/// `iss` of every token.
pub const ISSUER: &str = "https://identity.cytoplane.internal";
/// `aud` of tokens for tenants' data.
pub const AUDIENCE_CELL: &str = "cytoplane:cell";
/// `aud` of tokens for the global plane's own API.
pub const AUDIENCE_GLOBAL: &str = "cytoplane:global";

/// Claims of an EdDSA token. Times are seconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    pub iss: String,
    /// User or service account id.
    pub sub: String,
    /// Tenant the bearer acts in; absent on a global token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tid: Option<TenantId>,
    /// Organisation that owns the tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub org: Option<String>,
    /// Space-separated scopes, as OAuth 2 writes them; see [`scope`].
    #[serde(default)]
    pub scp: String,
    /// Groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grp: Vec<String>,
    /// Markings cleared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mrk: Vec<String>,
    /// Session; revoking it ends every token minted from it.
    pub sid: String,
    pub aud: String,
    pub iat: i64,
    pub exp: i64,
    pub jti: String,
}

/// The scopes there are. `*` grants all of them inside the token's tenant.
pub mod scope {
    pub const ALL: &str = "*";
    pub const STREAMS_READ: &str = "streams:read";
    pub const STREAMS_WRITE: &str = "streams:write";
    pub const DATASETS_READ: &str = "datasets:read";
    pub const DATASETS_WRITE: &str = "datasets:write";
    pub const CATALOG_READ: &str = "catalog:read";
    pub const CATALOG_WRITE: &str = "catalog:write";
    pub const SQL_READ: &str = "sql:read";
    pub const LINEAGE_READ: &str = "lineage:read";
    pub const LINEAGE_WRITE: &str = "lineage:write";
    pub const AUDIT_READ: &str = "audit:read";
    pub const SINKS_READ: &str = "sinks:read";
    /// Only on global tokens.
    pub const PLATFORM_ADMIN: &str = "platform:admin";
    pub const ORGANISATION_ADMIN: &str = "organisation:admin";

    /// Every scope a tenant's token may carry.
    pub const TENANT: &[&str] = &[
        ALL,
        STREAMS_READ,
        STREAMS_WRITE,
        DATASETS_READ,
        DATASETS_WRITE,
        CATALOG_READ,
        CATALOG_WRITE,
        SQL_READ,
        LINEAGE_READ,
        LINEAGE_WRITE,
        AUDIT_READ,
        SINKS_READ,
    ];

    /// Whether the space-separated `granted` holds `wanted`.
    pub fn holds(granted: &str, wanted: &str) -> bool {
        granted.split(' ').any(|s| s == wanted || s == ALL)
    }
}

/// A revoked session: no token of it is good, whatever its expiry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// Position in the feed; grows by one.
    pub seq: u64,
    pub sid: String,
    /// After this second every token of the session has expired and the entry may be forgotten.
    pub until: i64,
}

#[cfg(test)]
mod tests {
    use super::scope::holds;

    #[test]
    fn a_scope_is_a_whole_word() {
        assert!(holds("streams:read datasets:read", "datasets:read"));
        assert!(holds("*", "datasets:read"));
        assert!(!holds("datasets:readx", "datasets:read"));
        assert!(!holds("", "datasets:read"));
    }
}
