//! The catalog's HTTP surface, and all that can go wrong between a commit and its answer.

use std::sync::Arc;

use bytes::Bytes;
use contracts::headers;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use super::catalog::{Change, Creation, Key};
use super::fault::Fault;
use super::network::{self, answer};
use super::others;
use super::world::World;

pub async fn serve(world: Arc<World>) -> turmoil::Result {
    let state = Arc::clone(&world);
    network::serve(move |call| handle(Arc::clone(&state), call)).await
}

async fn handle(world: Arc<World>, call: Request<Bytes>) -> Option<Response<Bytes>> {
    let slow = world.chance(0.02);
    world.tarry(if slow { 800 } else { 4 }).await;
    let path = call.uri().path().to_owned();
    let parts: Vec<&str> = path.trim_start_matches("/iceberg/v1/").split('/').collect();
    let (tenant, rest) = parts.split_first()?;
    if let Some(misdirected) = misdirected(&world, tenant, &call) {
        return Some(misdirected);
    }
    match (call.method(), rest) {
        (&Method::POST, ["namespaces"]) => Some(answer(StatusCode::OK, &json!({}))),
        (&Method::GET, ["namespaces", _, "tables", name]) => {
            if world.chance(0.01) {
                return Some(answer(StatusCode::SERVICE_UNAVAILABLE, &Value::Null));
            }
            let found = world.tables.lock().live.get(&((*tenant).to_owned(), (*name).to_owned())).cloned();
            Some(
                found.map_or_else(
                    || answer(StatusCode::NOT_FOUND, &Value::Null),
                    |e| answer(StatusCode::OK, &e.answer()),
                ),
            )
        }
        (&Method::POST, ["namespaces", _, "tables"]) => {
            let creation: Creation = serde_json::from_slice(call.body()).ok()?;
            let made = world.tables.lock().create(tenant, creation);
            let made = answered(made.map(|entry| entry.answer()));
            (!world.chance(0.03)).then_some(made)
        }
        (&Method::POST, ["namespaces", _, "tables", name]) => {
            let key = ((*tenant).to_owned(), (*name).to_owned());
            commit(&world, key, call.body()).await
        }
        _ => Some(answer(StatusCode::NOT_FOUND, &Value::Null)),
    }
}

fn misdirected(world: &World, tenant: &str, call: &Request<Bytes>) -> Option<Response<Bytes>> {
    let shown = call.headers().get(headers::GENERATION).and_then(|g| g.to_str().ok()?.parse::<u64>().ok());
    let required = world.tables.lock().generations.get(tenant).copied().unwrap_or(0);
    if shown.unwrap_or(0) >= required {
        return None;
    }
    let mut answer = answer(StatusCode::MISDIRECTED_REQUEST, &Value::Null);
    answer.headers_mut().insert(headers::GENERATION_REQUIRED, HeaderValue::from(required));
    Some(answer)
}

fn answered(outcome: Result<Value, StatusCode>) -> Response<Bytes> {
    match outcome {
        Ok(body) => answer(StatusCode::OK, &body),
        Err(status) => answer(status, &json!({ "error": { "message": "refused" } })),
    }
}

/// What becomes of a commit on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Straight,
    /// Carried out, and no answer.
    AnswerLost,
    /// Never arrived.
    CommitLost,
    /// Arrives long after its sender gave up waiting.
    Late,
    /// Arrives twice; the second answer is the one that comes.
    Twice,
    /// 500, with or without having been carried out.
    Unknown {
        done: bool,
    },
}

fn way(world: &World) -> Way {
    let odds = match world.fault {
        Fault::AnswerLost | Fault::Failover => 0.4,
        Fault::MarkerExpired => 0.25,
        _ => 0.03,
    };
    if !world.chance(odds) {
        return Way::Straight;
    }
    let ways = [
        Way::AnswerLost,
        Way::Late,
        Way::Twice,
        Way::CommitLost,
        Way::Unknown { done: true },
        Way::Unknown { done: false },
    ];
    let way = ways[world.below(ways.len() as u64) as usize];
    let own = match world.fault {
        Fault::AnswerLost => true,
        Fault::Failover => matches!(way, Way::Unknown { .. }),
        _ => false,
    };
    if own {
        world.strike();
    }
    way
}

async fn commit(world: &Arc<World>, key: Key, body: &Bytes) -> Option<Response<Bytes>> {
    others::meddle(world, &key).await;
    let way = way(world);
    let apply = {
        let (world, key, body) = (Arc::clone(world), key.clone(), body.clone());
        move || apply(&world, &key, &body)
    };
    let outcome = match way {
        Way::Straight => Some(apply()),
        Way::AnswerLost => {
            apply();
            None
        }
        Way::CommitLost => None,
        Way::Late => {
            let world = Arc::clone(world);
            tokio::task::spawn_local(async move {
                world.tarry(1_500).await;
                apply();
            });
            None
        }
        Way::Twice => {
            apply();
            Some(apply())
        }
        Way::Unknown { done } => {
            if done {
                apply();
            }
            Some(answer(StatusCode::INTERNAL_SERVER_ERROR, &Value::Null))
        }
    };
    if way != Way::Straight {
        world.note(format_args!("catalog: commit on {} went {way:?}", key.1));
        others::expire_unseen(world, &key);
    }
    outcome
}

fn apply(world: &World, key: &Key, body: &Bytes) -> Response<Bytes> {
    let Ok(change) = serde_json::from_slice::<Change>(body) else {
        return answer(StatusCode::BAD_REQUEST, &Value::Null);
    };
    let done = world.tables.lock().commit(key, change);
    world.note(format_args!("catalog: commit on {}/{}: {:?}", key.0, key.1, done.as_ref().map(drop)));
    answered(done.map(|entry| entry.answer()))
}
