//! Moves, led through cells that fail at random and by leaders that die: what clients were told is kept.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use contracts::Generation;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::Semaphore;

use super::*;
use crate::domain::moving::Step;
use crate::leading::{Cells, Refused, Request};
use crate::ops::moves;
use crate::store::moves::Move;

const HERE: &str = "shared-1";
const THERE: &str = "shared-2";

/// What one cell has of one tenant, and the two numbers that guard it: what its own view of the placements says, and
/// what its databases say (`kit::placements`, `kit::database`).
#[derive(Debug, Clone, Default)]
struct Held {
    rows: BTreeSet<u64>,
    /// Let in is what comes at this generation or a newer one.
    entered_at: u64,
    /// Stored is what comes at this generation or a newer one.
    fence: u64,
    promised_to: Option<CellId>,
}

impl Held {
    /// As every transaction of a service begins.
    fn pass(&mut self, generation: Generation) -> Result<(), Refused> {
        if generation.0 < self.fence {
            return Err(Refused("behind the fence".to_owned()));
        }
        self.fence = generation.0;
        Ok(())
    }
}

/// Cells as they would be, and a way to them that loses, delays and repeats requests.
pub struct Model {
    me: Weak<Self>,
    pool: PgPool,
    held: Mutex<HashMap<(CellId, TenantId), Held>>,
    /// One in so many requests is lost before it is heard, as many answers are, and as many requests come once more, late.
    fails: Option<u32>,
    random: Mutex<StdRng>,
    asked: AtomicU64,
    /// Clients that look where their tenant is, at the same time: the others have connections left.
    looks: Semaphore,
}

impl Model {
    pub fn new(pool: &PgPool, seed: u64, fails: Option<u32>) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            me: me.clone(),
            pool: pool.clone(),
            held: Mutex::default(),
            fails,
            random: Mutex::new(StdRng::seed_from_u64(seed)),
            asked: AtomicU64::new(0),
            looks: Semaphore::new(1),
        })
    }

    fn fails(&self) -> bool {
        self.fails.is_some_and(|one_in| self.random.lock().random_ratio(1, one_in))
    }

    /// A client's row; answered with how many rows there are when it is stored.
    pub fn write(&self, cell: &CellId, tenant: &TenantId, generation: u64, row: u64) -> Option<usize> {
        let mut held = self.held.lock();
        let held = held.entry((cell.clone(), tenant.clone())).or_default();
        if generation < held.entered_at || held.pass(Generation(generation)).is_err() {
            return None;
        }
        held.rows.insert(row);
        Some(held.rows.len())
    }

    pub fn has(&self, cell: &CellId, tenant: &TenantId, row: u64) -> bool {
        self.held.lock().get(&(cell.clone(), tenant.clone())).is_some_and(|held| held.rows.contains(&row))
    }

    /// A cell's entry shuts when it hears that the tenant is leaving, which is what is waited for.
    async fn close(&self, cell: &CellId, tenant: &TenantId) -> Result<u64, Refused> {
        let failed = |error: Error| Refused(error.to_string());
        let mut db = self.pool.acquire().await.map_err(|error| failed(error.into()))?;
        let listed = routing::tenants_of(&mut db, cell, "", 1_000).await.map_err(failed)?;
        let leaves_at = listed.into_iter().find(|listed| listed.0 == *tenant).and_then(|listed| listed.2);
        let leaves_at = leaves_at.ok_or_else(|| Refused("it is not leaving".to_owned()))?;
        let mut held = self.held.lock();
        let held = held.entry((cell.clone(), tenant.clone())).or_default();
        held.entered_at = held.entered_at.max(leaves_at.0);
        Ok(0)
    }

    fn act(&self, cell: &CellId, tenant: &TenantId, request: Request) -> Result<u64, Refused> {
        let mut all = self.held.lock();
        let place = (cell.clone(), tenant.clone());
        match request {
            Request::Promise { to } => all.entry(place).or_default().promised_to = Some(to),
            Request::Fence { generation } => all.entry(place).or_default().pass(generation)?,
            Request::Carry { from, generation } => {
                let source = all.get(&(from, tenant.clone())).cloned().unwrap_or_default();
                if source.promised_to.as_ref() != Some(cell) {
                    return Err(Refused("not promised".to_owned()));
                }
                let target = all.entry(place).or_default();
                target.pass(generation)?;
                target.rows = source.rows;
            }
            Request::Clean { generation } => {
                let held = all.entry(place).or_default();
                held.pass(generation)?;
                held.rows.clear();
                held.promised_to = None;
            }
            Request::Copy { .. } | Request::Settle { .. } | Request::Close => {}
        }
        Ok(0)
    }

    async fn arrive(&self, cell: &CellId, tenant: &TenantId, request: Request) -> Result<u64, Refused> {
        if request == Request::Close { self.close(cell, tenant).await } else { self.act(cell, tenant, request) }
    }

    /// The same request comes once more, when others have come since.
    fn repeat_late(&self, cell: &CellId, tenant: &TenantId, request: Request) {
        let turns = self.random.lock().random_range(0..400);
        let (me, cell, tenant) = (self.me.clone(), cell.clone(), tenant.clone());
        tokio::spawn(async move {
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            if let Some(me) = me.upgrade() {
                // Nobody waits for its answer.
                let _ = me.arrive(&cell, &tenant, request).await;
            }
        });
    }
}

#[async_trait]
impl Cells for Model {
    async fn ask(&self, cell: &CellId, tenant: &TenantId, request: Request) -> Result<u64, Refused> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if self.fails() {
            self.repeat_late(cell, tenant, request.clone());
        }
        if self.fails() {
            return Err(Refused("not heard".to_owned()));
        }
        let answer = self.arrive(cell, tenant, request).await;
        tokio::task::yield_now().await;
        if self.fails() { Err(Refused("no answer".to_owned())) } else { answer }
    }
}

async fn two_cells() -> anyhow::Result<Process> {
    let site = site().await?;
    put_cell(&site.tenancy, THERE, 3, CellKind::Shared).await?;
    Ok(site)
}

async fn placed(pool: &PgPool, id: &TenantId) -> anyhow::Result<(CellId, u64)> {
    let tenant = store::tenants::lock(&mut *pool.acquire().await?, id.as_str()).await?.unwrap();
    Ok((cell(&tenant.cell.unwrap()), tenant.generation.unsigned_abs()))
}

async fn newest(pool: &PgPool, id: &TenantId) -> anyhow::Result<Move> {
    Ok(store::moves::list(&mut *pool.acquire().await?, id.as_str(), None, 1).await?.remove(0))
}

async fn comes_to(pool: &PgPool, id: &TenantId, step: Step) -> Done {
    testkit::eventually(&format!("{id} is {}", step.name()), || async {
        let now = newest(pool, id).await?;
        anyhow::ensure!(now.step()? == step, "{now:?}");
        Ok(())
    })
    .await
}

/// A client that writes row after row, where it last heard that the tenant is; it looks again when it is refused, and
/// now and then it looks too late. What it is answered never lacks a row that it was told is stored.
async fn client(
    pool: PgPool,
    model: Arc<Model>,
    id: TenantId,
    enough: Arc<AtomicBool>,
) -> anyhow::Result<BTreeSet<u64>> {
    let mut acknowledged = BTreeSet::new();
    // Some writes in each step of a move, and not all of the machine.
    let mut beat = tokio::time::interval(Duration::from_millis(2));
    let (mut at, mut generation) = placed(&pool, &id).await?;
    for row in 0.. {
        if enough.load(Ordering::Relaxed) {
            break;
        }
        while !enough.load(Ordering::Relaxed) {
            if let Some(rows) = model.write(&at, &id, generation, row) {
                acknowledged.insert(row);
                let told = acknowledged.len();
                anyhow::ensure!(rows == told, "{id} at {generation} in {at}: {rows} rows, {told} acknowledged");
                break;
            }
            let _one = model.looks.acquire().await?;
            (at, generation) = placed(&pool, &id).await?;
        }
        beat.tick().await;
    }
    Ok(acknowledged)
}

/// Moves of each of [`TENANTS`]; `CYTO_SEEDS` multiplies them.
const ROUNDS: u64 = 8;
const TENANTS: usize = 32;

/// 256 moves, or as many times more as wanted.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_when_requests_fail_and_leaders_die() -> Done {
    let times: u64 =
        std::env::var("CYTO_SEEDS").ok().and_then(|text| text.parse().ok()).map_or(1, |n: u64| n.div_ceil(250));
    let site = two_cells().await?;
    let pool = site.tenancy.0.pool.clone();
    assert!(site.tasks.drain(Duration::from_secs(60)).await);
    let model = Model::new(&pool, 7, Some(8));
    let mut process = hurried(&pool).await?;
    let ids: Vec<TenantId> = (0..TENANTS).map(|n| tenant(&format!("t-{n}"))).collect();
    for id in &ids {
        tenants::create(&process.tenancy, &platform(), id, born("acme-corp", Some(HERE), None)).await?;
    }
    let enough = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = ids
        .iter()
        .map(|id| tokio::spawn(client(pool.clone(), Arc::clone(&model), id.clone(), Arc::clone(&enough))))
        .collect();
    for round in 0..ROUNDS * times {
        process.tenancy.lead(&process.tasks, Arc::clone(&model) as Arc<dyn Cells>);
        let target = if round % 2 == 0 { THERE } else { HERE };
        for id in &ids {
            moves::begin(&process.tenancy, &platform(), id, target).await?;
        }
        // The leader dies after some requests, whatever it is in the middle of.
        let until = model.asked.load(Ordering::Relaxed) + model.random.lock().random_range(1..200);
        testkit::eventually("some steps are done", || async {
            anyhow::ensure!(model.asked.load(Ordering::Relaxed) >= until);
            Ok(())
        })
        .await?;
        assert!(process.tasks.drain(Duration::from_secs(60)).await);
        process = hurried(&pool).await?;
        process.tenancy.lead(&process.tasks, Arc::clone(&model) as Arc<dyn Cells>);
        for id in &ids {
            comes_to(&pool, id, Step::Done).await?;
            assert_eq!(placed(&pool, id).await?.0, cell(target));
        }
    }
    enough.store(true, Ordering::Relaxed);
    let mut rows = 0;
    for (id, client) in ids.iter().zip(clients) {
        let acknowledged = client.await??;
        let held = model.held.lock();
        assert_eq!(held[&(cell(HERE), id.clone())].rows, acknowledged, "{id}");
        assert!(held[&(cell(THERE), id.clone())].rows.is_empty());
        assert!(acknowledged.len() > 16, "{id} has {} rows", acknowledged.len());
        rows += acknowledged.len();
    }
    println!(
        "    {} moves, {rows} rows, {} requests of leaders",
        ROUNDS * times * TENANTS as u64,
        model.asked.load(Ordering::Relaxed)
    );
    let table = replay(&pool).await?;
    assert_eq!(table, snapshot(&pool).await?);
    Ok(())
}

/// A process whose moves do not wait long before they try again.
async fn hurried(pool: &PgPool) -> anyhow::Result<Process> {
    let settings = Settings { moves_at_once: 2, move_retry_ms: 5, ..Settings::default() };
    let process = start_with(pool, settings).await?;
    anyhow::ensure!(process.tenancy.elected(Duration::from_secs(60)).await, "not elected");
    Ok(process)
}

#[tokio::test]
async fn one_move_of_a_tenant_at_a_time_and_nothing_crosses_it() -> Done {
    let site = two_cells().await?;
    let acme = tenant("acme");
    tenants::create(&site.tenancy, &platform(), &acme, born("acme-corp", Some(HERE), None)).await?;
    let begin = async |caller: &Caller, target: &str| moves::begin(&site.tenancy, caller, &acme, target).await;
    assert!(matches!(begin(&admin_of("acme-corp"), THERE).await, Err(Error::Forbidden)));
    assert!(matches!(begin(&admin_of("globex-corp"), THERE).await, Err(Error::NotFound("tenant"))));
    assert!(matches!(begin(&platform(), HERE).await, Err(Error::Invalid(_))));
    assert!(matches!(begin(&platform(), "nowhere").await, Err(Error::Invalid(_))));
    let (first, new) = begin(&platform(), THERE).await?;
    let (same, again) = begin(&platform(), THERE).await?;
    assert!(new && !again && same.id == first.id);
    assert!(matches!(begin(&platform(), "dedicated-1").await, Err(Error::Moving)));
    assert!(matches!(tenants::remove(&site.tenancy, &platform(), &acme).await, Err(Error::Moving)));
    assert!(matches!(tenants::place(&site.tenancy, &platform(), &acme, HERE).await, Err(Error::Moving)));
    Ok(())
}

#[tokio::test]
async fn a_move_is_given_up_before_its_fence_and_not_after() -> Done {
    let site = two_cells().await?;
    let pool = &site.tenancy.0.pool;
    let acme = tenant("acme");
    tenants::create(&site.tenancy, &platform(), &acme, born("acme-corp", Some(HERE), None)).await?;
    let before = placed(pool, &acme).await?.1;
    let (begun, _) = moves::begin(&site.tenancy, &platform(), &acme, THERE).await?;
    moves::advance(&site.tenancy, begun.id, Step::Copy).await?;
    moves::close(&site.tenancy, begun.id).await?;
    moves::close(&site.tenancy, begun.id).await?;
    let closed_at = newest(pool, &acme).await?.generation.unwrap().unsigned_abs();
    assert_eq!(closed_at, before + 2, "closed once");
    moves::cancel(&site.tenancy, &platform(), &acme).await?;
    // Whoever was told to wait for the generation of the move finds a newer one, here.
    assert_eq!(placed(pool, &acme).await?, (cell(HERE), closed_at + 1));
    assert!(matches!(moves::advance(&site.tenancy, begun.id, Step::Close).await, Err(Error::Overtaken)));
    let model = Model::new(pool, 1, None);
    site.tenancy.lead(&site.tasks, Arc::clone(&model) as Arc<dyn Cells>);
    comes_to(pool, &acme, Step::Cancelled).await?;
    assert!(matches!(moves::cancel(&site.tenancy, &platform(), &acme).await, Err(Error::NotFound("move"))));
    moves::begin(&site.tenancy, &platform(), &acme, THERE).await?;
    comes_to(pool, &acme, Step::Done).await
}

#[tokio::test]
async fn past_its_fence_a_move_goes_on() -> Done {
    let site = two_cells().await?;
    let acme = tenant("acme");
    tenants::create(&site.tenancy, &platform(), &acme, born("acme-corp", Some(HERE), None)).await?;
    let (begun, _) = moves::begin(&site.tenancy, &platform(), &acme, THERE).await?;
    moves::advance(&site.tenancy, begun.id, Step::Copy).await?;
    moves::close(&site.tenancy, begun.id).await?;
    assert_eq!(moves::advance(&site.tenancy, begun.id, Step::Close).await?, Step::Fence);
    let cancelled = moves::cancel(&site.tenancy, &platform(), &acme).await;
    assert!(matches!(cancelled, Err(Error::PastTheFence)), "{cancelled:?}");
    Ok(())
}

/// A cell that starts with an empty disk hears that a tenant of its is leaving.
#[tokio::test]
async fn a_cell_hears_of_a_tenant_that_is_leaving() -> Done {
    use contracts::placements::{Place, place_in};
    let site = two_cells().await?;
    let pool = &site.tenancy.0.pool;
    let acme = tenant("acme");
    tenants::create(&site.tenancy, &platform(), &acme, born("acme-corp", Some(HERE), None)).await?;
    let (begun, _) = moves::begin(&site.tenancy, &platform(), &acme, THERE).await?;
    moves::advance(&site.tenancy, begun.id, Step::Copy).await?;
    let head = routing::head(&mut *pool.acquire().await?).await?;
    moves::close(&site.tenancy, begun.id).await?;
    let mut db = pool.acquire().await?;
    let listed = routing::tenants_of(&mut db, &cell(HERE), "", 10).await?;
    let generation = Generation(newest(pool, &acme).await?.generation.unwrap().unsigned_abs());
    assert_eq!(listed[0].2, Some(generation));
    let told = routing::after_for(&mut db, &cell(HERE), head, 10).await?.remove(0).1.unwrap();
    assert_eq!(place_in(&cell(HERE), &told), Some((acme, Place::Leaving { generation })));
    assert!(routing::after_for(&mut db, &cell(THERE), head, 10).await?.remove(0).1.is_none());
    Ok(())
}
