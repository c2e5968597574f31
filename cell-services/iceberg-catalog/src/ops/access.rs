//! Who may do what. The warehouse in the path must be the caller's own tenant; another tenant's
//! does not exist, whatever the caller holds.

use contracts::claims::scope::{CATALOG_READ, CATALOG_WRITE};
use kit::Scope;

use super::Catalog;
use crate::error::{Error, Result};
use crate::events;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    Read,
    Write,
}

fn decide(scope: &Scope, warehouse: &str, need: Need) -> Result<()> {
    if warehouse != scope.tenant.as_str() {
        return Err(Error::NoSuchWarehouse);
    }
    match need {
        Need::Write => Ok(scope.require(CATALOG_WRITE)?),
        // Whoever may write must read what it writes on.
        Need::Read => scope
            .require(CATALOG_READ)
            .or_else(|missing| scope.require(CATALOG_WRITE).map_err(|_| missing))
            .map_err(Error::from),
    }
}

impl Catalog {
    /// Admits the caller or records that it was refused.
    pub async fn allow(
        &self,
        scope: &Scope,
        warehouse: &str,
        need: Need,
        action: &'static str,
        resource: &str,
    ) -> Result<()> {
        let Err(refusal) = decide(scope, warehouse, need) else { return Ok(()) };
        if let Err(error) = self.record_denial(scope, action, resource, &refusal).await {
            tracing::warn!(action, error = %kit::fault::chain(&error), "a refusal could not be recorded");
        }
        Err(refusal)
    }

    async fn record_denial(&self, scope: &Scope, action: &'static str, resource: &str, refusal: &Error) -> Result<()> {
        let mut tx = self.database.begin(scope).await?;
        events::audited(&mut tx, scope, action, resource, events::Outcome::Denied(refusal.wire().0)).await?;
        Ok(tx.commit().await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contracts::{Generation, TenantId};
    use kit::Actor;

    fn caller(scopes: &str) -> Scope {
        let mut scope = Scope::of_service("x", TenantId::new("acme").unwrap(), Generation(1));
        (scope.actor, scope.scopes) = (Actor::User("u".into()), scopes.to_owned());
        scope
    }

    #[test]
    fn another_tenants_warehouse_does_not_exist_even_for_the_powerful() {
        assert!(matches!(decide(&caller("*"), "globex", Need::Read), Err(Error::NoSuchWarehouse)));
        assert!(matches!(decide(&caller(""), "globex", Need::Write), Err(Error::NoSuchWarehouse)));
    }

    #[test]
    fn writing_needs_its_own_scope_and_brings_reading() {
        assert!(decide(&caller("catalog:read"), "acme", Need::Read).is_ok());
        assert!(matches!(decide(&caller("catalog:read"), "acme", Need::Write), Err(Error::Scope(_))));
        assert!(decide(&caller("catalog:write"), "acme", Need::Read).is_ok());
        assert!(matches!(decide(&caller("streams:read"), "acme", Need::Read), Err(Error::Scope(_))));
    }
}
