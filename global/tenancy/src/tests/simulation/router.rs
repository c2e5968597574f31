//! A router: the product's own follower, table and waits; forwarding as its proxy does it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use contracts::{Generation, TenantId};
use router::knowledge::Knowledge;
use router::table::{Follower, Sealing, Taken};
use router::token::Keys;
use serde::{Deserialize, Serialize};

use super::cell::{self, Answer};
use super::plane::{self, next};
use super::wire::{self, Connection, NoAnswer, ask, say};
use super::world::{PLANES, World, rest};

const PLACEMENT: Duration = Duration::from_millis(500);
const ARRIVAL: Duration = Duration::from_secs(15);
const CELL: Duration = Duration::from_secs(10);
/// A cell that cannot be reached is waited for so long.
const RESTART: Duration = Duration::from_secs(10);

/// A client's request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Question {
    pub tenant: TenantId,
    /// What to write; a read without it.
    pub op: Option<u64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Reply {
    Of(Answer),
    /// 503 with a time to retry.
    Moving,
    /// The cell's connection broke: nobody knows.
    Broken,
    /// It has no table yet.
    Unready,
}

pub async fn live(world: Arc<World>, folder: PathBuf) -> turmoil::Result {
    // From nothing: what it held before is older than what it is told.
    let _ = std::fs::remove_dir_all(&folder);
    let knowledge = Arc::new(Knowledge::load(&folder, Arc::default())?);
    let x = URL_SAFE_NO_PAD.encode(plane::key().verifying_key().as_bytes());
    let jwks = serde_json::json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": "k1", "x": x}]});
    let keys = Keys::read(jwks.to_string().as_bytes())?;
    tokio::task::spawn_local(follow(Arc::clone(&world), Arc::clone(&knowledge), keys));
    wire::serve(move |question, connection| reply(Arc::clone(&world), Arc::clone(&knowledge), question, connection))
        .await
}

async fn follow(world: Arc<World>, knowledge: Arc<Knowledge>, keys: Keys) {
    loop {
        let since = knowledge.view().version();
        if let Ok(connection) = wire::open(world.one_of(&PLANES), &plane::Question::Routing { since }).await
            && let Err(reason) = read(&knowledge, &keys, connection).await
        {
            world.note(format_args!("a router refuses what it hears: {reason}"));
        }
        world.takes(100).await;
    }
}

async fn read(knowledge: &Knowledge, keys: &Keys, mut connection: Connection) -> Result<(), String> {
    let (mut sealing, mut follower) = (Sealing::default(), Follower::new(knowledge.view().as_ref().clone()));
    while let Some(line) = next(&mut connection).await {
        match sealing.take(&line).map_err(|error| error.to_string())? {
            Taken::Held => {}
            Taken::Part(line) => follower.step(line).map_err(|error| error.to_string())?,
            Taken::Seal(seal) => {
                seal.prove(keys).map_err(|error| error.to_string())?;
                for line in sealing.release() {
                    follower.step(line).map_err(|error| error.to_string())?;
                }
                follower.take().into_iter().for_each(|view| knowledge.replace_view(view));
            }
        }
    }
    Ok(())
}

async fn reply(world: Arc<World>, knowledge: Arc<Knowledge>, question: Question, mut connection: Connection) {
    let _ = say(&mut connection, &forward(&world, &knowledge, &question).await).await;
}

async fn forward(world: &World, knowledge: &Knowledge, question: &Question) -> Reply {
    let (tenant, mut repaired, mut waited) = (&question.tenant, false, Duration::ZERO);
    loop {
        let view = knowledge.view();
        let Some(seat) = view.by_tenant(tenant) else { return Reply::Unready };
        if let Some(generation) = view.leaving(tenant) {
            if !knowledge.reach(tenant, generation, ARRIVAL).await {
                return Reply::Moving;
            }
            continue;
        }
        let (tenant, cell, generation) = (tenant.clone(), seat.cell.clone(), seat.generation);
        let host = cell.to_string();
        let sent = match question.op {
            Some(op) => cell::Question::Write { tenant, cell, generation, op },
            None => cell::Question::Read { tenant, cell, generation },
        };
        match ask(&host, &sent, CELL).await {
            Ok(Answer::Misdirected(required, is_leaving)) => {
                if repaired || !reaches(knowledge, &question.tenant, required, is_leaving).await {
                    return Reply::Moving;
                }
                repaired = true;
            }
            Ok(answer) => return Reply::Of(answer),
            Err(NoAnswer::Unanswered) => return Reply::Broken,
            Err(NoAnswer::Unreached) => {
                if waited >= RESTART {
                    return Reply::Broken;
                }
                let look = Duration::from_millis(50 + world.below(10));
                rest(look).await;
                waited += look;
            }
        }
    }
}

async fn reaches(knowledge: &Knowledge, tenant: &TenantId, required: Generation, is_leaving: bool) -> bool {
    knowledge.reach(tenant, required, PLACEMENT).await
        || ((is_leaving || knowledge.view().leaving(tenant).is_some())
            && knowledge.reach(tenant, required, ARRIVAL).await)
}
