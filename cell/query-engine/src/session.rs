//! What a client may set for its statements: where unqualified names are looked up.

use contracts::TenantId;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Namespaces searched for an unqualified table, in order.
const SEARCH_PATH: [&str; 2] = ["datasets", "streams"];

/// Options of a Flight SQL session. The server keeps none: they travel in a sealed cookie and in
/// every ticket.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SessionOptions {
    /// Namespace searched first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
}

impl SessionOptions {
    pub const CATALOG: &'static str = "catalog";
    pub const SCHEMA: &'static str = "schema";

    /// Sets one option; an empty value unsets it.
    pub fn set(&mut self, tenant: &TenantId, name: &str, value: &str) -> Result<()> {
        match name {
            Self::SCHEMA => {
                self.schema = (!value.is_empty()).then(|| value.to_owned());
                Ok(())
            }
            // There is one catalog. Naming it is fine, leaving it is not.
            Self::CATALOG if value.is_empty() || value == tenant.as_str() => Ok(()),
            Self::CATALOG => Err(Error::Session(format!("there is no catalog {value:?}"))),
            _ => Err(Error::Session(format!("there is no session option {name:?}"))),
        }
    }

    /// Namespaces in which an unqualified name is looked up, first match wins.
    pub fn search_path(&self) -> Vec<&str> {
        let mut path: Vec<&str> = self.schema.as_deref().into_iter().collect();
        path.extend(SEARCH_PATH.iter().filter(|name| Some(**name) != self.schema.as_deref()));
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sessions_schema_is_searched_first_and_once() {
        let tenant = TenantId::new("acme").unwrap();
        let mut session = SessionOptions::default();
        assert_eq!(session.search_path(), ["datasets", "streams"]);
        session.set(&tenant, "schema", "streams").unwrap();
        assert_eq!(session.search_path(), ["streams", "datasets"]);
        session.set(&tenant, "schema", "").unwrap();
        assert_eq!(session.search_path(), ["datasets", "streams"]);
    }

    #[test]
    fn another_tenants_catalog_cannot_be_chosen() {
        let tenant = TenantId::new("acme").unwrap();
        let mut session = SessionOptions::default();
        assert!(session.set(&tenant, "catalog", "acme").is_ok());
        assert!(session.set(&tenant, "catalog", "globex").is_err());
        assert!(session.set(&tenant, "role", "admin").is_err());
    }
}
