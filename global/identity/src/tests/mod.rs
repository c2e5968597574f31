//! Against a real Postgres: what the pure tests of `domain` cannot show.

mod access;
mod cards;
mod keys;
mod signing_in;
mod wire;

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use contracts::{Claims, TenantId};
use kit::Secret;
use kit::token::Verifier;
use uuid::Uuid;

use crate::domain::access::{Caller, Role};
use crate::ops::accounts::{self, NewUser};
use crate::ops::tokens::{TokenGrant, Wanted};
use crate::ops::{members, tokens};
use crate::store::subjects::Subject;
use crate::{Directory, Error, Identity, Settings};

pub type Done = anyhow::Result<()>;

pub const PASSWORD: &str = "tall ships sail at noon";
pub const HERE: &str = "127.0.0.9";

/// Two organisations with a tenant each, as tenancy would answer.
struct TwoOrganisations(HashMap<&'static str, &'static str>);

#[async_trait]
impl Directory for TwoOrganisations {
    async fn organisation_exists(&self, organisation: &str) -> Result<bool, Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.0.values().any(|o| *o == organisation))
    }
    async fn organisation_of(
        &self,
        tenant: &TenantId,
    ) -> Result<Option<String>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.0.get(tenant.as_str()).map(|o| (*o).to_owned()))
    }
}

pub fn seal_key() -> Secret {
    Secret::new("ab".repeat(32))
}

pub async fn identity_with(settings: Settings) -> anyhow::Result<Identity> {
    let database = testkit::database(&crate::MIGRATOR).await?;
    let directory = TwoOrganisations(HashMap::from([("acme", "acme-corp"), ("globex", "globex-corp")]));
    let identity = Identity::new(database.pool().clone(), settings, &seal_key(), Arc::new(directory))?;
    crate::jobs::rotate(&identity).await?;
    Ok(identity)
}

pub async fn identity() -> anyhow::Result<Identity> {
    identity_with(Settings::default()).await
}

pub fn platform() -> Caller {
    Caller { subject: Uuid::now_v7(), sid: Uuid::now_v7(), organisation: None, role: Role::PlatformAdmin }
}

pub fn admin_of(organisation: &str) -> Caller {
    Caller { organisation: Some(organisation.to_owned()), role: Role::OrganisationAdmin, ..platform() }
}

pub fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

pub fn in_tenant(name: &str) -> Wanted {
    Wanted::new(Some(tenant(name)), None)
}

pub async fn user(identity: &Identity, email: &str, organisation: &str, role: Role) -> Result<Subject, Error> {
    let new = NewUser {
        email: email.to_owned(),
        name: "A person".to_owned(),
        password: PASSWORD.to_owned(),
        organisation: Some(organisation.to_owned()),
        role,
    };
    accounts::create_user(identity, &platform(), new).await
}

/// A user of acme-corp who is a member of its tenant.
pub async fn ada(identity: &Identity, scopes: &[&str]) -> Result<Subject, Error> {
    let ada = user(identity, "ada@acme.example", "acme-corp", Role::Member).await?;
    let scopes = scopes.iter().map(|s| (*s).to_owned()).collect();
    members::put(identity, &platform(), &tenant("acme"), ada.id, scopes).await?;
    Ok(ada)
}

pub async fn sign_in(identity: &Identity, wanted: &Wanted) -> Result<TokenGrant, Error> {
    tokens::by_password(identity, "ada@acme.example", PASSWORD.to_owned(), wanted, HERE).await
}

/// Verifies as a cell or the global plane would, with the published keys alone.
pub fn verified(identity: &Identity, audience: &'static str, token: &str) -> Result<Claims, kit::token::TokenError> {
    let verifier = Verifier::new(audience);
    assert!(verifier.set_keys(&serde_json::from_value(identity.0.ring.jwks()).unwrap()));
    verifier.verify(token)
}

pub async fn revoked(identity: &Identity) -> anyhow::Result<Vec<(u64, String)>> {
    let mut db = identity.0.pool.acquire().await?;
    let list = crate::store::sessions::revocations_after(&mut db, 0, 100).await?;
    Ok(list.into_iter().map(|r| (r.seq, r.sid)).collect())
}
