//! Scopes for tests of services, as the gateway would mint them.

use contracts::{Generation, TenantId};
use kit::{Actor, Scope};

/// A user who may do everything in `tenant`.
pub fn scope(tenant: &str) -> anyhow::Result<Scope> {
    scope_with(tenant, "*")
}

/// A user with these space-separated scopes.
pub fn scope_with(tenant: &str, scopes: &str) -> anyhow::Result<Scope> {
    let scope = Scope::of_service("test", TenantId::new(tenant)?, Generation(1));
    Ok(Scope { actor: Actor::User("tester".to_owned()), scopes: scopes.to_owned(), ..scope })
}
