//! The contract bundle: every bus contract of one release, as one canonical, signable document.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::events::{Bus, EVENTS};
use crate::services::SERVICES;
use crate::{kafka, nats};

/// Grows by one whenever [`canonical`] changes; the blessed digest beside it makes a forgotten
/// step a red test.
pub const VERSION: u32 = 2;

/// What travels: the document's exact bytes and the global plane's signature over them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SignedBundle {
    pub version: u32,
    /// Canonical JSON of the contracts.
    pub document: String,
    /// SHA-256 of `document`, lower-case hex.
    pub sha256: String,
    /// Key id in the JWKS of the global plane.
    pub kid: String,
    /// Ed25519 signature over `document`, base64 (URL-safe, no padding).
    pub signature: String,
}

/// What a cell tells the global plane it has applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CellReport {
    pub contracts_version: u32,
    pub contracts_sha256: String,
    /// Differences between the contracts and the brokers, in words; empty when there is none.
    pub drift: Vec<String>,
}

/// The contracts this build was compiled with, as canonical JSON: same contracts, same bytes.
pub fn canonical() -> String {
    let events: Vec<serde_json::Value> = EVENTS
        .iter()
        .map(|e| {
            let topic = matches!(e.bus, Bus::Data { .. }).then_some(e.name);
            serde_json::json!({
                "name": e.name,
                "owner": e.owner,
                "transport": e.bus,
                "topic": topic,
                "key": e.key,
                "producers": e.producers,
                "consumers": e.consumers,
                "schema": e.schema.map(|make| make().to_value()),
            })
        })
        .collect();
    let services: Vec<serde_json::Value> = SERVICES
        .iter()
        .map(|s| serde_json::json!({ "name": s.name, "plane": s.plane.name(), "callers": s.callers, "paths": s.paths }))
        .collect();
    let document = serde_json::json!({
        "version": VERSION,
        "services": services,
        "events": events,
        "kafka": { "topics": kafka::topics(), "acls": kafka::acls() },
        "nats": { "streams": nats::streams(), "consumers": nats::consumers(), "permissions": nats::permissions() },
    });
    document.to_string()
}

/// Lower-case hex.
pub fn sha256(document: &str) -> String {
    hex::encode(Sha256::digest(document.as_bytes()))
}
