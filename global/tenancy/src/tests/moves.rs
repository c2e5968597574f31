//! Moves, led through cells that fail at random and by leaders that die: what clients were told is kept.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use contracts::Generation;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::domain::moving::Step;
use crate::leading::{Cells, Refused, Request};
use crate::ops::moves;
use crate::store::moves::Move;

const HERE: &str = "shared-1";
const THERE: &str = "shared-2";

/// What one cell has of one tenant.
#[derive(Debug, Clone, Default)]
struct Held {
    rows: BTreeSet<u64>,
    is_closed: bool,
    /// Nobody writes at an older one.
    fence: u64,
    promised_to: Option<CellId>,
}

/// Cells as they would be, and how often they fail.
struct Model {
    held: Mutex<HashMap<(CellId, TenantId), Held>>,
    /// One in so many requests is lost before it is heard, and as many answers.
    fails: Option<u32>,
    random: Mutex<StdRng>,
    asked: AtomicU64,
}

impl Model {
    fn new(seed: u64, fails: Option<u32>) -> Arc<Self> {
        let random = Mutex::new(StdRng::seed_from_u64(seed));
        Arc::new(Self { held: Mutex::default(), fails, random, asked: AtomicU64::new(0) })
    }

    fn is_lost(&self) -> bool {
        self.fails.is_some_and(|one_in| self.random.lock().random_ratio(1, one_in))
    }

    /// A client's row; `true` is its acknowledgement.
    fn write(&self, cell: &CellId, tenant: &TenantId, generation: u64, row: u64) -> bool {
        let mut held = self.held.lock();
        let held = held.entry((cell.clone(), tenant.clone())).or_default();
        let taken = !held.is_closed && generation >= held.fence;
        if taken {
            held.fence = generation;
            held.rows.insert(row);
        }
        taken
    }

    fn act(&self, cell: &CellId, tenant: &TenantId, request: Request) -> Result<u64, Refused> {
        let mut all = self.held.lock();
        let refused = |why: &str| Err(Refused(why.to_owned()));
        if let Request::Carry { from, generation } = request {
            let source = all.get(&(from, tenant.clone())).cloned().unwrap_or_default();
            if source.promised_to.as_ref() != Some(cell) {
                return refused("not promised");
            }
            assert!(source.is_closed && source.fence >= generation.0, "carried from an open cell: {source:?}");
            let target = Held { rows: source.rows, fence: generation.0, ..Held::default() };
            all.insert((cell.clone(), tenant.clone()), target);
            return Ok(0);
        }
        let held = all.entry((cell.clone(), tenant.clone())).or_default();
        match request {
            Request::Promise { to } => held.promised_to = Some(to),
            Request::Close => held.is_closed = true,
            Request::Fence { generation } => {
                assert!(held.is_closed || held.promised_to.is_none(), "fenced while it was open");
                held.fence = held.fence.max(generation.0);
            }
            Request::Clean { generation } => {
                held.rows.clear();
                (held.is_closed, held.promised_to) = (false, None);
                held.fence = held.fence.max(generation.0);
            }
            Request::Copy { .. } | Request::Settle | Request::Carry { .. } => {}
        }
        Ok(0)
    }
}

#[async_trait]
impl Cells for Model {
    async fn ask(&self, cell: &CellId, tenant: &TenantId, request: Request) -> Result<u64, Refused> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if self.is_lost() {
            return Err(Refused("not heard".to_owned()));
        }
        let answer = self.act(cell, tenant, request);
        tokio::task::yield_now().await;
        if self.is_lost() { Err(Refused("no answer".to_owned())) } else { answer }
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
/// now and then it looks too late.
async fn client(
    pool: PgPool,
    model: Arc<Model>,
    id: TenantId,
    enough: Arc<AtomicBool>,
) -> anyhow::Result<BTreeSet<u64>> {
    let (mut acknowledged, mut row) = (BTreeSet::new(), 0);
    let (mut at, mut generation) = placed(&pool, &id).await?;
    while !enough.load(Ordering::Relaxed) {
        if model.write(&at, &id, generation, row) {
            acknowledged.insert(row);
            row += 1;
        } else {
            (at, generation) = placed(&pool, &id).await?;
        }
        tokio::task::yield_now().await;
    }
    Ok(acknowledged)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_when_cells_fail_and_leaders_die() -> Done {
    let site = two_cells().await?;
    let pool = site.tenancy.0.pool.clone();
    let model = Model::new(7, Some(6));
    let ids: Vec<TenantId> = (0..8).map(|n| tenant(&format!("t-{n}"))).collect();
    for id in &ids {
        tenants::create(&site.tenancy, &platform(), id, "acme-corp", Some(HERE), None).await?;
    }
    let enough = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = ids
        .iter()
        .map(|id| tokio::spawn(client(pool.clone(), Arc::clone(&model), id.clone(), Arc::clone(&enough))))
        .collect();
    let mut process = site;
    for round in 0..2 {
        process.tenancy.lead(&process.tasks, Arc::clone(&model) as Arc<dyn Cells>);
        let target = if round % 2 == 0 { THERE } else { HERE };
        for id in &ids {
            moves::begin(&process.tenancy, &platform(), id, target).await?;
        }
        // The leader dies after some requests, whatever it is in the middle of.
        let until = model.asked.load(Ordering::Relaxed) + 20;
        testkit::eventually("some steps are done", || async {
            anyhow::ensure!(model.asked.load(Ordering::Relaxed) >= until);
            Ok(())
        })
        .await?;
        assert!(process.tasks.drain(Duration::from_secs(60)).await);
        process = start(&pool).await?;
        assert!(process.tenancy.elected(Duration::from_secs(60)).await);
        process.tenancy.lead(&process.tasks, Arc::clone(&model) as Arc<dyn Cells>);
        for id in &ids {
            comes_to(&pool, id, Step::Done).await?;
            assert_eq!(placed(&pool, id).await?.0, cell(target));
        }
    }
    enough.store(true, Ordering::Relaxed);
    for (id, client) in ids.iter().zip(clients) {
        let acknowledged = client.await??;
        let held = model.held.lock();
        assert_eq!(held[&(cell(HERE), id.clone())].rows, acknowledged, "{id}");
        assert!(held[&(cell(THERE), id.clone())].rows.is_empty());
        assert!(acknowledged.len() > 4, "{id} has {} rows", acknowledged.len());
    }
    let table = replay(&pool).await?;
    assert_eq!(table, snapshot(&pool).await?);
    Ok(())
}

#[tokio::test]
async fn one_move_of_a_tenant_at_a_time_and_nothing_crosses_it() -> Done {
    let site = two_cells().await?;
    let acme = tenant("acme");
    tenants::create(&site.tenancy, &platform(), &acme, "acme-corp", Some(HERE), None).await?;
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
    tenants::create(&site.tenancy, &platform(), &acme, "acme-corp", Some(HERE), None).await?;
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
    let model = Model::new(1, None);
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
    tenants::create(&site.tenancy, &platform(), &acme, "acme-corp", Some(HERE), None).await?;
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
    tenants::create(&site.tenancy, &platform(), &acme, "acme-corp", Some(HERE), None).await?;
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
