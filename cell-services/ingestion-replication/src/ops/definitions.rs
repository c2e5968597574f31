//! Streams as their service describes them, remembered.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use contracts::TenantId;
use http::{Request, StatusCode};
use kit::Scope;
use kit::exchange::{Exchange, ExchangeError, generation_required};
use parking_lot::Mutex;
use serde::Deserialize;
use uuid::Uuid;

use crate::domain::Field;
use crate::error::Error;

/// Streams remembered; beyond them everything is forgotten and asked again.
const MAX_REMEMBERED: usize = 10_000;

/// A stream with its newest schema: later versions only add nullable fields, so it reads all rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    pub name: String,
    /// As it was when last asked; rows of a deleted stream may still be on their way.
    pub deleted: bool,
    pub version: i32,
    pub fields: Vec<Field>,
}

/// Streaming's answer.
#[derive(Deserialize)]
struct Schemas {
    name: String,
    deleted: bool,
    schemas: Vec<Version>,
}

#[derive(Deserialize)]
struct Version {
    version: i32,
    fields: Vec<Field>,
}

pub struct Definitions {
    streaming: Arc<dyn Exchange>,
    /// By tenant too: what one tenant was told is not true for another.
    known: Mutex<HashMap<(TenantId, Uuid), Arc<Definition>>>,
}

impl Definitions {
    pub fn new(streaming: Arc<dyn Exchange>) -> Self {
        Self { streaming, known: Mutex::default() }
    }

    /// The definition, at least at `version` if there is such a version by now; `None` if the tenant
    /// has no such stream.
    pub async fn get(&self, scope: &Scope, stream: Uuid, version: i32) -> Result<Option<Arc<Definition>>, Error> {
        let known = self.known.lock().get(&(scope.tenant.clone(), stream)).cloned();
        if let Some(known) = known.filter(|d| d.version >= version) {
            return Ok(Some(known));
        }
        self.fresh(scope, stream).await
    }

    /// As it is now.
    pub async fn fresh(&self, scope: &Scope, stream: Uuid) -> Result<Option<Arc<Definition>>, Error> {
        let Some(found) = self.ask(scope, stream).await? else { return Ok(None) };
        let found = Arc::new(found);
        let mut known = self.known.lock();
        if known.len() >= MAX_REMEMBERED {
            known.clear();
        }
        known.insert((scope.tenant.clone(), stream), Arc::clone(&found));
        Ok(Some(found))
    }

    async fn ask(&self, scope: &Scope, stream: Uuid) -> Result<Option<Definition>, Error> {
        let call = Request::get(format!("/api/v1/streams/{stream}/schemas")).body(Bytes::new());
        let call = call.map_err(|error| ExchangeError::Unreached(error.into()))?;
        let answer = self.streaming.exchange(scope, call).await?;
        match answer.status() {
            StatusCode::NOT_FOUND => return Ok(None),
            // While its tenant leaves the cell, what is left of its rows is taken at the generation that is named here.
            StatusCode::MISDIRECTED_REQUEST => {
                return Err(Error::StreamingMisdirected(generation_required(answer.headers())));
            }
            status if !status.is_success() => return Err(Error::StreamingRefused(status.as_u16())),
            _ => {}
        }
        let Schemas { name, deleted, schemas } =
            serde_json::from_slice(answer.body()).map_err(Error::StreamingUnread)?;
        let newest = schemas.into_iter().max_by_key(|s| s.version);
        Ok(newest.map(|s| Definition { name, deleted, version: s.version, fields: s.fields }))
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use contracts::Generation;
    use contracts::headers::GENERATION_REQUIRED;
    use http::Response;
    use kit::Fault as _;

    use super::*;

    /// Streaming of a cell that its tenant is leaving.
    struct Fenced;

    #[async_trait]
    impl Exchange for Fenced {
        async fn exchange(&self, _: &Scope, _: Request<Bytes>) -> Result<Response<Bytes>, ExchangeError> {
            let mut answer = Response::new(Bytes::new());
            *answer.status_mut() = StatusCode::MISDIRECTED_REQUEST;
            answer.headers_mut().insert(GENERATION_REQUIRED, 107.into());
            Ok(answer)
        }
    }

    #[tokio::test]
    async fn a_refusal_names_the_generation_to_go_on_at() {
        let scope = Scope::of_service("ingestion-replication", TenantId::new("acme").unwrap(), Generation(80));
        let refused = Definitions::new(Arc::new(Fenced)).fresh(&scope, Uuid::nil()).await.unwrap_err();
        assert_eq!(refused.generation_required(), Some(Generation(107)));
    }
}
