//! Tenancy's database: placements, moves and the routing log, as `ops` and `store` keep them in Postgres.

use std::collections::BTreeMap;

use contracts::routing::{CellEndpoint, Change, Route, Table};
use contracts::{CellId, Generation, TenantId, TierId};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::moving::Step;
use crate::error::Error;
use crate::store::moves::Move;

#[derive(Debug, Clone)]
pub struct Placed {
    pub cell: CellId,
    pub generation: Generation,
    pub leaving: Option<Generation>,
}

/// What one process writes, another reads at once; who is not the writer any more writes nothing.
#[derive(Debug, Default)]
pub struct Desk {
    term: u64,
    generation: u64,
    pub tenants: BTreeMap<TenantId, Placed>,
    pub moves: BTreeMap<Uuid, Move>,
    /// With the one cell that hears of it, if not all do.
    pub log: Vec<(Change, Option<CellId>)>,
    /// Tenants that have left each cell.
    pub departed: BTreeMap<CellId, u64>,
    pub now_ms: u64,
    /// When each tenant was placed.
    pub placements: Vec<(TenantId, u64)>,
}

impl Desk {
    pub fn new(cells: &[CellId], tenants: &[TenantId]) -> Self {
        let mut desk = Self::default();
        for (number, cell) in cells.iter().enumerate() {
            let at = |port: u16| format!("127.0.2.{}:{port}", number + 1);
            let endpoint = CellEndpoint { cell: cell.clone(), http: at(8080), flight: at(50133), door: None };
            desk.log.push((Change::CellUpserted { endpoint }, None));
        }
        for (number, tenant) in tenants.iter().enumerate() {
            desk.generation += 1;
            desk.place(tenant, &cells[number % cells.len()], desk.generation);
        }
        desk
    }

    /// The next term of office.
    pub fn elect(&mut self) -> u64 {
        self.term += 1;
        self.term
    }

    pub fn fence(&self, term: u64) -> Result<(), Error> {
        if term == self.term { Ok(()) } else { Err(Error::NotWriter) }
    }

    pub fn table(&self) -> Table {
        let mut table = Table::default();
        for (version, (change, _)) in (1..).zip(&self.log) {
            table.apply(version, change).expect("the log is sound");
        }
        table
    }

    fn place(&mut self, tenant: &TenantId, cell: &CellId, generation: u64) {
        let generation = Generation(generation);
        let placed = Placed { cell: cell.clone(), generation, leaving: None };
        self.placements.push((tenant.clone(), self.now_ms));
        let left = self.tenants.insert(tenant.clone(), placed).filter(|before| before.cell != *cell);
        if let Some(before) = left {
            *self.departed.entry(before.cell).or_default() += 1;
        }
        let hosts = vec![format!("{tenant}.localhost")];
        let route = Route { tenant: tenant.clone(), cell: cell.clone(), generation, hosts, tier: TierId::default() };
        self.log.push((Change::TenantPlaced { route }, None));
    }

    pub fn under_way(&self) -> Vec<Move> {
        self.moves.values().filter(|found| !found.step().expect("a step").is_over()).cloned().collect()
    }

    fn under_way_of(&self, tenant: &TenantId) -> Option<Move> {
        self.under_way().into_iter().find(|found| found.tenant == tenant.as_str())
    }

    /// Begins a move, if none of the tenant is under way.
    pub fn begin(&mut self, tenant: &TenantId, target: &CellId) -> bool {
        let source = self.tenants[tenant].cell.clone();
        if source == *target || self.under_way_of(tenant).is_some() {
            return false;
        }
        let (id, at) = (Uuid::from_u128(self.moves.len() as u128 + 1), OffsetDateTime::UNIX_EPOCH);
        let begun = Move {
            id,
            tenant: tenant.to_string(),
            source: source.to_string(),
            target: target.to_string(),
            step: Step::Copy.name().to_owned(),
            generation: None,
            problem: None,
            started_at: at,
            changed_at: at,
            closed_at: None,
            opened_at: None,
        };
        self.moves.insert(id, begun);
        true
    }

    /// Gives up the tenant's move, if it still can be.
    pub fn cancel(&mut self, tenant: &TenantId) -> bool {
        let Some(running) = self.under_way_of(tenant) else { return false };
        if !running.step().expect("a step").can_be_cancelled() {
            return false;
        }
        self.set(running.id, Step::Back);
        if running.generation.is_some() {
            self.generation += 1;
            self.place(tenant, &CellId::new(running.source).expect("a cell"), self.generation);
        }
        true
    }

    fn set(&mut self, id: Uuid, step: Step) {
        self.moves.get_mut(&id).expect("a move").step = step.name().to_owned();
    }

    fn at(&self, id: Uuid, step: Step) -> Result<(Move, TenantId), Error> {
        let found = self.moves.get(&id).cloned().ok_or(Error::NotFound("move"))?;
        let tenant = TenantId::new(found.tenant.clone()).expect("a tenant");
        if found.step()? == step { Ok((found, tenant)) } else { Err(Error::Overtaken) }
    }

    pub fn advance(&mut self, id: Uuid, step: Step) -> Result<Step, Error> {
        self.at(id, step)?;
        self.set(id, step.next());
        Ok(step.next())
    }

    pub fn close(&mut self, id: Uuid) -> Result<(), Error> {
        let (found, tenant) = self.at(id, Step::Close)?;
        if found.generation.is_none() {
            self.generation += 2;
            let generation = Generation(self.generation);
            self.moves.get_mut(&id).expect("a move").generation = i64::try_from(generation.0).ok();
            self.tenants.get_mut(&tenant).expect("a tenant").leaving = Some(generation);
            let source = CellId::new(found.source).expect("a cell");
            self.log.push((Change::TenantLeaving { tenant, generation }, Some(source)));
        }
        Ok(())
    }

    pub fn switch(&mut self, id: Uuid) -> Result<Step, Error> {
        let (found, tenant) = self.at(id, Step::Switch)?;
        let generation = found.generation.ok_or(Error::Broken("it has no generation"))?.unsigned_abs();
        self.place(&tenant, &CellId::new(found.target).expect("a cell"), generation);
        self.set(id, Step::Clean);
        Ok(Step::Clean)
    }
}
