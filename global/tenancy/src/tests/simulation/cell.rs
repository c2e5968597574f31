//! A cell: the product's own view of the placements at its entry, and its storage behind it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use contracts::placements::PlacementLine;
use contracts::{CellId, Generation, TenantId};
use kit::fault::Fault as _;
use kit::placements::Placements;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::plane::{self, next};
use super::wire::{self, Connection, ask, say};
use super::world::{Fault, PLANES, World, rest};
use crate::leading::Request;

const GIVE: Duration = Duration::from_secs(3);
/// A change that was under way when its tenant was closed has so long to end.
const UNDER_WAY: Duration = Duration::from_secs(5);
const HEARS: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(10);

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Question {
    Write {
        tenant: TenantId,
        cell: CellId,
        generation: Generation,
        op: u64,
    },
    Read {
        tenant: TenantId,
        cell: CellId,
        generation: Generation,
    },
    Lead {
        tenant: TenantId,
        request: Request,
    },
    /// The rows of a tenant, for the cell it is promised to.
    Give {
        tenant: TenantId,
        to: CellId,
    },
}

/// To the router.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Answer {
    Stored,
    Rows(Vec<u64>),
    /// The generation to reach, and whether the tenant is on its way.
    Misdirected(Generation, bool),
}

struct Life {
    world: Arc<World>,
    cell: CellId,
    placements: Arc<Placements>,
    under_way: Mutex<BTreeMap<TenantId, u64>>,
    /// Version of the log, and tenants that have left.
    heard: Mutex<(u64, u64)>,
}

pub async fn live(world: Arc<World>, name: &'static str) -> turmoil::Result {
    let cell = super::world::cell(name);
    let placements = Placements::new(cell.clone());
    let mut heard = (0, 0);
    let kept = world.heard.lock().get(&cell).cloned();
    // Its disk may be lost too.
    if let Some((version, departed, known)) = kept.filter(|_| !world.one_in(2)) {
        placements.restore(known);
        heard = (version, departed);
    }
    let life = Arc::new(Life { world, cell, placements, under_way: Mutex::default(), heard: Mutex::new(heard) });
    tokio::task::spawn_local(follow(Arc::clone(&life)));
    wire::serve(move |question, connection| reply(Arc::clone(&life), question, connection)).await
}

async fn follow(life: Arc<Life>) {
    loop {
        let since = life.heard.lock().0;
        let question = plane::Question::Placements { cell: life.cell.clone(), since };
        if let Ok(mut connection) = wire::open(life.world.one_of(&PLANES), &question).await {
            while let Some(line) = next(&mut connection).await {
                if let Err(reason) = life.hear(&line) {
                    life.world.note(format_args!("{} refuses what it hears: {reason}", life.cell));
                    life.heard.lock().0 = 0;
                    break;
                }
            }
        }
        life.world.takes(100).await;
    }
}

async fn reply(life: Arc<Life>, question: Question, mut connection: Connection) {
    // Nobody may be there to hear it any more.
    let _ = match question {
        Question::Write { tenant, cell, generation, op } => {
            let answer = life.request(&tenant, &cell, generation, Some(op)).await;
            say(&mut connection, &answer).await
        }
        Question::Read { tenant, cell, generation } => {
            say(&mut connection, &life.request(&tenant, &cell, generation, None).await).await
        }
        Question::Lead { tenant, request } => say(&mut connection, &life.lead(&tenant, request).await).await,
        Question::Give { tenant, to } => {
            let given = life.world.store(&life.cell, &tenant, |store| {
                (store.promised_to.as_ref() == Some(&to)).then(|| store.rows.clone())
            });
            life.world.takes(40).await;
            say(&mut connection, &given).await
        }
    };
}

impl Life {
    fn hear(&self, line: &[u8]) -> Result<(), String> {
        let line: PlacementLine = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        let mut heard = self.heard.lock();
        match line {
            PlacementLine::Tenants { version, tenants, leaving, departed, .. } => {
                let (listed, leaving): (HashMap<_, _>, HashMap<_, _>) =
                    (tenants.into_iter().collect(), leaving.into_iter().collect());
                let gone = departed.saturating_sub(heard.1);
                self.placements.replace(listed, &leaving, gone).map_err(|error| error.to_string())?;
                *heard = (version, departed);
            }
            PlacementLine::Changed { version, after, tenant, place } => {
                if after != heard.0 {
                    return Err(format!("{version} after {after} does not follow {}", heard.0));
                }
                self.world.note(format_args!("{} hears of {tenant}: {}", self.cell, json!(place)));
                self.placements.change(tenant, place);
                heard.0 = version;
            }
            PlacementLine::Heartbeat { version } => heard.0 = version,
        }
        let kept = (heard.0, heard.1, self.placements.known());
        self.world.heard.lock().insert(self.cell.clone(), kept);
        Ok(())
    }

    /// A write, or a read without one.
    async fn request(&self, tenant: &TenantId, cell: &CellId, generation: Generation, op: Option<u64>) -> Answer {
        if let Err(misdirected) = self.placements.admit(tenant, cell, generation) {
            let required = misdirected.generation_required().unwrap_or_default();
            return Answer::Misdirected(required, misdirected.is_leaving());
        }
        *self.under_way.lock().entry(tenant.clone()).or_default() += 1;
        // Now and then it takes longer than anybody waits for it.
        self.world.takes(if self.world.one_in(50) { 7_000 } else { 30 }).await;
        let answer = self.world.store(&self.cell, tenant, |store| match (store.pass(generation), op) {
            (Err(required), _) => Answer::Misdirected(required, false),
            (Ok(()), Some(op)) => {
                store.rows.push(op);
                Answer::Stored
            }
            (Ok(()), None) => Answer::Rows(store.rows.clone()),
        });
        self.world.takes(10).await;
        *self.under_way.lock().entry(tenant.clone()).or_default() -= 1;
        answer
    }

    async fn lead(&self, tenant: &TenantId, request: Request) -> Result<u64, String> {
        if self.world.suffers(Fault::Cells) {
            self.world.takes(30).await;
        }
        match request {
            Request::Promise { to } => self.store(tenant, |store| store.promised_to = Some(to)),
            Request::Copy { .. } | Request::Settle { .. } => self.world.takes(20).await,
            Request::Close => self.close(tenant).await?,
            Request::Fence { generation } => self.store(tenant, |store| store.pass(generation)).map_err(fenced)?,
            Request::Carry { from, generation } => self.carry(tenant, &from, generation).await?,
            Request::Clean { generation } => self.store(tenant, |store| {
                store.pass(generation).map_err(fenced)?;
                store.rows.clear();
                store.promised_to = None;
                Ok::<_, String>(())
            })?,
        }
        Ok(0)
    }

    fn store<T>(&self, tenant: &TenantId, with: impl FnOnce(&mut super::world::Store) -> T) -> T {
        self.world.store(&self.cell, tenant, with)
    }

    /// Once the entry refuses the tenant, what is under way may end.
    async fn close(&self, tenant: &TenantId) -> Result<(), String> {
        let heard = until(HEARS, || self.placements.known().contains_key(tenant) && !self.placements.lets_in(tenant));
        if !heard.await {
            return Err("its entry has not heard of it".to_owned());
        }
        until(UNDER_WAY, || self.under_way.lock().get(tenant).is_none_or(|count| *count == 0)).await;
        Ok(())
    }

    async fn carry(&self, tenant: &TenantId, from: &CellId, generation: Generation) -> Result<(), String> {
        let question = Question::Give { tenant: tenant.clone(), to: self.cell.clone() };
        let given: Option<Vec<u64>> =
            ask(from.as_str(), &question, GIVE).await.map_err(|none| format!("{from}: {none:?}"))?;
        let rows = given.ok_or_else(|| "not promised".to_owned())?;
        self.world.takes(40).await;
        self.store(tenant, |store| {
            store.pass(generation).map_err(fenced)?;
            store.rows = rows;
            Ok(())
        })
    }
}

fn fenced(required: Generation) -> String {
    format!("fenced at {required}")
}

async fn until(patience: Duration, holds: impl Fn() -> bool) -> bool {
    let waited = tokio::time::timeout(patience, async {
        while !holds() {
            rest(LOOK).await;
        }
    });
    waited.await.is_ok()
}
