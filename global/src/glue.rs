//! What identity and tenancy must know of each other, and learn only here.

use async_trait::async_trait;
use contracts::TenantId;
use identity::{Directory, Identity};
use std::sync::{Arc, OnceLock};
use tenancy::{Signature, Signer, Tenancy};

use crate::command::Failure;

/// Identity's view of tenancy. Filled once, right after both exist: each needs the other.
#[derive(Clone, Default)]
pub struct Tenants(Arc<OnceLock<Tenancy>>);

impl Tenants {
    pub fn fill(&self, tenancy: Tenancy) {
        // Filled in one place only; a second value would be the same service.
        let _filled = self.0.set(tenancy);
    }

    fn tenancy(&self) -> Result<&Tenancy, Failure> {
        self.0.get().ok_or_else(|| "tenancy is not started".into())
    }
}

#[async_trait]
impl Directory for Tenants {
    async fn organisation_exists(&self, organisation: &str) -> Result<bool, Failure> {
        Ok(self.tenancy()?.organisation_exists(organisation).await?)
    }

    async fn organisation_of(&self, tenant: &TenantId) -> Result<Option<String>, Failure> {
        Ok(self.tenancy()?.organisation_of(tenant).await?)
    }
}

/// Signs tenancy's bundles with identity's key, so that one key set verifies everything.
pub struct IdentitySigner(pub Identity);

impl Signer for IdentitySigner {
    fn sign(&self, document: &[u8]) -> Result<Signature, Failure> {
        let identity::Signature { kid, signature } = self.0.sign(document)?;
        Ok(Signature { kid, signature })
    }
}
