//! On whose behalf something happens. First argument of every store call.

use std::fmt;
use std::str::FromStr;

use axum::extract::FromRequestParts;
use contracts::claims::scope;
use contracts::{Generation, TenantId, TraceParent, headers};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use uuid::Uuid;

use crate::fault::{Fault, Kind, Problem};

/// Who acts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Actor {
    /// A signed-in user or service account, by `sub`.
    User(String),
    /// A service of this cell, by name.
    Service(String),
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Actor::User(sub) => write!(f, "user:{sub}"),
            Actor::Service(name) => write!(f, "service:{name}"),
        }
    }
}

impl FromStr for Actor {
    type Err = ScopeError;
    fn from_str(text: &str) -> Result<Self, ScopeError> {
        match text.split_once(':') {
            Some(("user", sub)) if !sub.is_empty() => Ok(Actor::User(sub.to_owned())),
            Some(("service", name)) if !name.is_empty() => Ok(Actor::Service(name.to_owned())),
            _ => Err(ScopeError::Header(headers::ACTOR)),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// Only a peer that is allowed to connect can cause this, so it is our own bug.
    #[error("header {0} is missing or malformed")]
    Header(&'static str),
    #[error("scope {0} is required")]
    Missing(String),
}

impl Fault for ScopeError {
    fn kind(&self) -> Kind {
        match self {
            ScopeError::Header(_) => Kind::Unauthenticated,
            ScopeError::Missing(_) => Kind::Forbidden,
        }
    }
    fn code(&self) -> &'static str {
        match self {
            ScopeError::Header(_) => "cell/scope-header",
            ScopeError::Missing(_) => "cell/scope-missing",
        }
    }
}

/// Tenant and actor of one request, as the cell's entry established them.
#[derive(Debug, Clone)]
pub struct Scope {
    pub tenant: TenantId,
    pub generation: Generation,
    pub actor: Actor,
    /// Space separated; see [`contracts::claims::scope`].
    pub scopes: String,
    pub request_id: String,
    pub traceparent: Option<String>,
}

impl Scope {
    /// A service acting for itself in a tenant, for example from a job.
    pub fn of_service(name: &str, tenant: TenantId, generation: Generation) -> Self {
        Self {
            tenant,
            generation,
            actor: Actor::Service(name.to_owned()),
            scopes: scope::ALL.to_owned(),
            request_id: Uuid::now_v7().to_string(),
            traceparent: None,
        }
    }

    /// Where in which trace this happens.
    pub fn place(&self) -> Option<TraceParent> {
        self.traceparent.as_deref().and_then(|text| text.parse().ok())
    }

    /// The same, as a part of what `span` is about.
    pub fn under(mut self, span: &trace::Span) -> Self {
        self.traceparent = span.traceparent();
        self
    }

    /// Refuses an actor that does not hold `wanted`.
    pub fn require(&self, wanted: &str) -> Result<(), ScopeError> {
        if scope::holds(&self.scopes, wanted) { Ok(()) } else { Err(ScopeError::Missing(wanted.to_owned())) }
    }

    /// Reads what the gateway (or another service) wrote. Call it only behind mTLS.
    pub fn from_headers(map: &HeaderMap) -> Result<Self, ScopeError> {
        Ok(Self {
            tenant: parse(map, headers::TENANT)?,
            generation: parse(map, headers::GENERATION)?,
            actor: parse(map, headers::ACTOR)?,
            scopes: text(map, headers::SCOPES)?.to_owned(),
            request_id: text(map, headers::REQUEST_ID)?.to_owned(),
            traceparent: text(map, headers::TRACEPARENT).ok().map(str::to_owned),
        })
    }

    /// The headers another service of the cell reads with [`Scope::from_headers`].
    pub fn to_headers(&self) -> Result<HeaderMap, ScopeError> {
        let mut map = HeaderMap::with_capacity(6);
        let mut put = |name: &'static str, value: &str| {
            let value = HeaderValue::from_str(value).map_err(|_| ScopeError::Header(name))?;
            map.insert(name, value);
            Ok(())
        };
        put(headers::TENANT, self.tenant.as_str())?;
        put(headers::GENERATION, &self.generation.to_string())?;
        put(headers::ACTOR, &self.actor.to_string())?;
        put(headers::SCOPES, &self.scopes)?;
        put(headers::REQUEST_ID, &self.request_id)?;
        if let Some(traceparent) = &self.traceparent {
            put(headers::TRACEPARENT, traceparent)?;
        }
        Ok(map)
    }
}

fn text<'a>(map: &'a HeaderMap, name: &'static str) -> Result<&'a str, ScopeError> {
    map.get(name).and_then(|v| v.to_str().ok()).ok_or(ScopeError::Header(name))
}

fn parse<T: FromStr>(map: &HeaderMap, name: &'static str) -> Result<T, ScopeError> {
    text(map, name)?.parse().map_err(|_| ScopeError::Header(name))
}

impl<S: Send + Sync> FromRequestParts<S> for Scope {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(Scope::from_headers(&parts.headers)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_survives_the_hop_between_services() {
        let scope = Scope::of_service("sink", TenantId::new("acme").unwrap(), Generation(7));
        let read = Scope::from_headers(&scope.to_headers().unwrap()).unwrap();
        assert_eq!((read.tenant, read.generation, read.actor), (scope.tenant, scope.generation, scope.actor));
    }

    #[test]
    fn an_actor_needs_a_kind_and_a_name() {
        for bad in ["", "user", "user:", "root:x", ":x"] {
            assert!(bad.parse::<Actor>().is_err(), "{bad}");
        }
    }
}
