//! The fence at a cell's two entries, HTTP and Flight: who, which tenant, which generation.

use std::sync::Arc;

use contracts::{CellId, Generation, TenantId, headers};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use uuid::Uuid;

use crate::fault::{Fault, Kind};
use crate::placements::{Misdirected, Placements};
use crate::scope::{Actor, Scope};
use crate::token::{TokenError, Verifier};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdmitError {
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error("the token is for another tenant")]
    ForeignTenant,
    #[error("header {0} is missing or malformed")]
    Header(&'static str),
    #[error(transparent)]
    Misdirected(#[from] Misdirected),
    #[error("the cell has no key set yet")]
    NotReady,
}

impl Fault for AdmitError {
    fn kind(&self) -> Kind {
        match self {
            AdmitError::Token(e) => e.kind(),
            AdmitError::ForeignTenant => Kind::Forbidden,
            AdmitError::Header(_) => Kind::Invalid,
            AdmitError::Misdirected(e) => e.kind(),
            AdmitError::NotReady => Kind::Unavailable,
        }
    }
    fn code(&self) -> &'static str {
        match self {
            AdmitError::Token(e) => e.code(),
            AdmitError::ForeignTenant => "token/foreign-tenant",
            AdmitError::Header(_) => "cell/router-header",
            AdmitError::Misdirected(e) => e.code(),
            AdmitError::NotReady => "cell/not-ready",
        }
    }
    fn generation_required(&self) -> Option<Generation> {
        match self {
            AdmitError::Misdirected(e) => e.generation_required(),
            _ => None,
        }
    }
    fn is_leaving(&self) -> bool {
        matches!(self, AdmitError::Misdirected(e) if e.is_leaving())
    }
}

/// What an entry needs to admit a request, all of it in memory.
#[derive(Debug)]
pub struct Admission {
    pub verifier: Arc<Verifier>,
    pub placements: Arc<Placements>,
}

impl Admission {
    /// Verifies the token again and checks the router's word against the cell's own view.
    pub fn admit(&self, map: &HeaderMap) -> Result<Scope, AdmitError> {
        if !self.verifier.ready() {
            return Err(AdmitError::NotReady);
        }
        let tenant: TenantId = parse(map, headers::TENANT)?;
        let cell: CellId = parse(map, headers::CELL)?;
        let generation: Generation = parse(map, headers::GENERATION)?;
        let claims = self.verifier.verify_header(map.get(AUTHORIZATION), map.get(headers::KEY_CARD))?;
        if claims.tid.as_ref() != Some(&tenant) {
            return Err(AdmitError::ForeignTenant);
        }
        self.placements.admit(&tenant, &cell, generation)?;
        Ok(Scope {
            tenant,
            generation,
            actor: Actor::User(claims.sub),
            scopes: claims.scp,
            request_id: optional(map, headers::REQUEST_ID).unwrap_or_else(|| Uuid::now_v7().to_string()),
            traceparent: optional(map, headers::TRACEPARENT),
        })
    }
}

fn parse<T: std::str::FromStr>(map: &HeaderMap, name: &'static str) -> Result<T, AdmitError> {
    let text = map.get(name).and_then(|v| v.to_str().ok()).ok_or(AdmitError::Header(name))?;
    text.parse().map_err(|_| AdmitError::Header(name))
}

fn optional(map: &HeaderMap, name: &'static str) -> Option<String> {
    map.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned)
}
