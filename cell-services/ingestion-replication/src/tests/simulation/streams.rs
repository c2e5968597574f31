//! Streaming's part: what streams there are, answered over the simulated network.

use std::sync::Arc;

use bytes::Bytes;
use contracts::headers;
use http::{Request, Response, StatusCode};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use uuid::Uuid;

use super::network::{self, answer};
use super::world::World;

pub struct Stream {
    pub id: Uuid,
    pub tenant: &'static str,
    pub name: &'static str,
    /// Newest schema version; each adds a nullable column to the one before.
    pub version: i32,
}

/// Two streams of one name under two tenants, and a third.
pub fn of(random: &mut StdRng) -> Vec<Stream> {
    // Ids of their own seed: the world's draws do not depend on how many streams there are.
    let mut ids = StdRng::seed_from_u64(random.random());
    [("acme", "flights"), ("acme", "orders"), ("globex", "flights")]
        .into_iter()
        .map(|(tenant, name)| Stream { id: Uuid::from_u128(ids.random()), tenant, name, version: 1 })
        .collect()
}

pub async fn serve(world: Arc<World>) -> turmoil::Result {
    let state = Arc::clone(&world);
    network::serve(move |call| {
        let world = Arc::clone(&state);
        async move {
            world.tarry(3).await;
            if world.chance(0.01) {
                return None;
            }
            Some(schemas(&world, &call))
        }
    })
    .await
}

fn schemas(world: &World, call: &Request<Bytes>) -> Response<Bytes> {
    let tenant = call.headers().get(headers::TENANT).and_then(|t| t.to_str().ok()).unwrap_or_default();
    let id = call.uri().path().split('/').nth(4).and_then(|id| Uuid::parse_str(id).ok());
    let streams = world.streams.lock();
    let Some(stream) = streams.iter().find(|s| Some(s.id) == id && s.tenant == tenant) else {
        return answer(StatusCode::NOT_FOUND, &json!({}));
    };
    let field = |name: String, kind: &str, nullable: bool| json!({ "name": name, "type": kind, "nullable": nullable });
    let versions = (1..=stream.version).map(|version| {
        let mut fields = vec![field("id".into(), "int64", false), field("note".into(), "string", true)];
        fields.extend((2..=version).map(|v| field(format!("extra{v}"), "int64", true)));
        json!({ "version": version, "fields": fields })
    });
    let versions: Vec<_> = versions.collect();
    answer(StatusCode::OK, &json!({ "name": stream.name, "deleted": false, "schemas": versions }))
}
