//! A process of tenancy: leads the moves with the product's own leader, and serves the feeds.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use contracts::placements::{PlacementLine, place_in};
use contracts::routing::FeedLine;
use contracts::seal::Unsealed;
use contracts::{CellId, Generation, TenantId};
use ed25519_dalek::{Signer as _, SigningKey};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::cell;
use super::wire::{self, Connection, ask, hear, say};
use super::world::{Fault, World, rest};
use crate::domain::moving::Step;
use crate::error::Error;
use crate::leading::{Cells, Journal, Refused, Request, Turns, to_the_end};
use crate::store::moves::Move;

const HEARTBEAT: Duration = Duration::from_millis(1_000);
const LOOK: Duration = Duration::from_millis(50);
/// A reader further behind gets everything anew.
const MOST_BEHIND: u64 = 6;
/// A cell's answer to a leader.
const PATIENCE: Duration = Duration::from_secs(8);

#[derive(Debug, Serialize, Deserialize)]
pub enum Question {
    Routing { since: u64 },
    Placements { cell: CellId, since: u64 },
}

pub fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

pub async fn live(world: Arc<World>, name: &'static str) -> turmoil::Result {
    let term = world.desk.lock().elect();
    world.note(format_args!("{name} is elected for term {term}"));
    tokio::task::spawn_local(lead(Arc::clone(&world), term));
    wire::serve(move |question, connection| feed(Arc::clone(&world), question, connection)).await
}

/// Leads every move that nobody of this process leads yet, also one that was let go. A process that is not the writer any
/// more finds out only when it writes.
async fn lead(world: Arc<World>, term: u64) {
    let led = Rc::new(RefCell::new(BTreeSet::new()));
    let turns = Rc::new(Turns::default());
    loop {
        let found = world.desk.lock().under_way();
        for found in found.into_iter().filter(|found| led.borrow_mut().insert(found.id)) {
            let (world, led, turns, id) = (Arc::clone(&world), Rc::clone(&led), Rc::clone(&turns), found.id);
            tokio::task::spawn_local(async move {
                let office = Office { world, term };
                let ended = to_the_end(&office, &office, &turns, found).await;
                office.world.note(format_args!("term {term} ends with move {}: {ended:?}", id.as_u128()));
                led.borrow_mut().remove(&id);
            });
        }
        rest(LOOK).await;
    }
}

/// One term of office: the database as its holder may write it, and its way to the cells.
struct Office {
    world: Arc<World>,
    term: u64,
}

impl Office {
    /// One transaction.
    async fn writes<T>(&self, write: impl FnOnce(&mut super::desk::Desk) -> Result<T, Error>) -> Result<T, Error> {
        self.world.takes(10).await;
        let mut desk = self.world.desk.lock();
        desk.fence(self.term)?;
        write(&mut desk)
    }
}

#[async_trait]
impl Journal for Office {
    async fn read(&self, id: Uuid) -> Result<Move, Error> {
        self.world.takes(5).await;
        self.world.desk.lock().moves.get(&id).cloned().ok_or(Error::NotFound("move"))
    }

    async fn placed_at(&self, tenant: &TenantId) -> Result<Generation, Error> {
        self.world.takes(5).await;
        Ok(self.world.desk.lock().tenants[tenant].generation)
    }

    async fn advance(&self, id: Uuid, step: Step) -> Result<Step, Error> {
        self.writes(|desk| desk.advance(id, step)).await
    }

    async fn close(&self, id: Uuid) -> Result<(), Error> {
        self.writes(|desk| desk.close(id)).await
    }

    async fn switch(&self, id: Uuid) -> Result<Step, Error> {
        self.writes(|desk| desk.switch(id)).await
    }

    async fn complain(&self, _: Uuid, _: &str) -> Result<(), Error> {
        Ok(())
    }

    fn pause(&self) -> Duration {
        Duration::from_millis(50)
    }
}

#[async_trait]
impl Cells for Office {
    async fn ask(&self, cell: &CellId, tenant: &TenantId, request: Request) -> Result<u64, Refused> {
        let what = format!("{request:?} of {tenant} in {cell}");
        self.world.note(format_args!("term {} asks {what}", self.term));
        let question = cell::Question::Lead { tenant: tenant.clone(), request };
        let host = cell.as_str();
        if self.world.suffers(Fault::Requests) {
            self.world.strike();
            match self.world.below(8) {
                0 => return Err(Refused("not heard".to_owned())),
                1 => {
                    tokio::task::spawn_local(heard_again(Arc::clone(&self.world), host.to_owned(), question.clone()));
                }
                2 => {
                    let _ = ask::<Result<u64, String>>(host, &question, PATIENCE).await;
                    return Err(Refused("no answer".to_owned()));
                }
                _ => {}
            }
        }
        let answer = ask::<Result<u64, String>>(host, &question, PATIENCE).await;
        answer.map_err(|none| Refused(format!("{none:?}")))?.map_err(Refused)
    }
}

/// A request that was thought lost arrives when others have.
async fn heard_again(world: Arc<World>, host: String, question: cell::Question) {
    world.takes(2_000).await;
    world.note(format_args!("{question:?} is heard again"));
    let _ = ask::<Result<u64, String>>(&host, &question, PATIENCE).await;
}

async fn feed(world: Arc<World>, question: Question, mut connection: Connection) {
    // The reader is gone, or will be: it comes back.
    let _ = match question {
        Question::Routing { since } => routing(&world, since, &mut connection).await,
        Question::Placements { cell, since } => placements(&world, &cell, since, &mut connection).await,
    };
}

/// Waits until there is more than `read`, or it is time to say that there is not.
async fn more(world: &World, read: u64) -> u64 {
    let waited = tokio::time::timeout(HEARTBEAT, async {
        loop {
            let head = world.desk.lock().log.len() as u64;
            if head > read {
                return head;
            }
            rest(Duration::from_millis(2)).await;
        }
    });
    waited.await.unwrap_or(read)
}

/// How far back a reader may be, to be told changes; now and then none is.
fn starts_at(world: &World, since: u64) -> u64 {
    let head = world.desk.lock().log.len() as u64;
    let is_near = since > 0 && since <= head && head - since <= MOST_BEHIND && !world.one_in(8);
    if is_near { since } else { 0 }
}

async fn sealed(connection: &mut Connection, lines: &[FeedLine]) -> std::io::Result<()> {
    let mut unsealed = Unsealed::default();
    for line in lines {
        unsealed.add(&serde_json::to_vec(line)?);
        unsealed.add(b"\n");
        say(connection, line).await?;
    }
    let signature = URL_SAFE_NO_PAD.encode(key().sign(&unsealed.statement()).to_bytes());
    say(connection, &FeedLine::Seal { kid: "k1".to_owned(), signature }).await
}

async fn routing(world: &World, since: u64, connection: &mut Connection) -> std::io::Result<()> {
    let mut read = starts_at(world, since);
    if read == 0 {
        let table = world.desk.lock().table();
        read = table.version;
        sealed(connection, &table.lines()).await?;
    }
    loop {
        let changes = world.desk.lock().log.iter().skip(read as usize).cloned().collect::<Vec<_>>();
        let mut lines = Vec::new();
        for (change, _) in changes {
            read += 1;
            lines.push(FeedLine::Delta { version: read, change });
        }
        if lines.is_empty() {
            lines.push(FeedLine::Heartbeat { version: read });
        }
        sealed(connection, &lines).await?;
        more(world, read).await;
    }
}

async fn placements(world: &World, cell: &CellId, since: u64, connection: &mut Connection) -> std::io::Result<()> {
    let mut read = starts_at(world, since);
    if read == 0 {
        let line = {
            let desk = world.desk.lock();
            let here = desk.tenants.iter().filter(|(_, placed)| placed.cell == *cell);
            let leaving = here.clone().filter_map(|(tenant, placed)| Some((tenant.clone(), placed.leaving?)));
            read = desk.log.len() as u64;
            PlacementLine::Tenants {
                version: read,
                leaving: leaving.collect(),
                tenants: here.map(|(tenant, placed)| (tenant.clone(), placed.generation)).collect(),
                departed: desk.departed.get(cell).copied().unwrap_or_default(),
                last: true,
            }
        };
        say(connection, &line).await?;
    }
    let mut told = read;
    loop {
        let changes = world.desk.lock().log.iter().skip(read as usize).cloned().collect::<Vec<_>>();
        for (change, only) in changes {
            read += 1;
            if only.is_some_and(|only| only != *cell) {
                continue;
            }
            if let Some((tenant, place)) = place_in(cell, &change) {
                say(connection, &PlacementLine::Changed { version: read, after: told, tenant, place }).await?;
                told = read;
            }
        }
        told = read;
        say(connection, &PlacementLine::Heartbeat { version: told }).await?;
        more(world, read).await;
    }
}

/// A reader holds on to its feed; a feed that is silent is left.
pub async fn next(connection: &mut Connection) -> Option<Vec<u8>> {
    tokio::time::timeout(HEARTBEAT * 5, hear(connection)).await.ok().flatten()
}

/// Whether to stop for good.
pub fn is_over(world: &World) -> bool {
    world.over.load(Ordering::Relaxed)
}
