//! Cells that are emptied: by moves through cells that fail, by routes with nothing asked of the lost one.

use std::collections::BTreeMap;

use super::moves::Model;
use super::*;
use crate::domain::draining::Way;
use crate::domain::moving::Step;
use crate::leading::Cells;
use crate::ops::{draining, moves};
use crate::store::cells::Near;
use crate::store::drains::{self, Drain};

const FULL: &str = "shared-1";
const OTHERS: [&str; 2] = ["shared-2", "shared-3"];

/// Two more shared cells, and `count` tenants in the first.
async fn populated(count: usize) -> anyhow::Result<Process> {
    let site = site().await?;
    for (number, name) in (3..).zip(OTHERS) {
        put_cell(&site.tenancy, name, number, CellKind::Shared).await?;
    }
    for number in 0..count {
        let id = tenant(&format!("t-{number}"));
        tenants::create(&site.tenancy, &platform(), &id, born("acme-corp", Some(FULL), None)).await?;
    }
    Ok(site)
}

/// The same without asking for each: thousands take too long.
async fn crowded(count: i64) -> anyhow::Result<Process> {
    let site = populated(0).await?;
    let mut db = site.tenancy.0.election.begin(&site.tenancy.0.pool).await?;
    let first = store::writer::next_generations(&mut db, usize::try_from(count)?).await?;
    for statement in [
        "insert into tenants (id, organisation, cell, generation) select 't-' || n, 'acme-corp', 'shared-1', $2 + n from generate_series(0, $1 - 1) n",
        "insert into placements (generation, tenant, cell) select $2 + n, 't-' || n, 'shared-1' from generate_series(0, $1 - 1) n",
        "insert into hosts (host, tenant, own) select 't-' || n || '.localhost', 't-' || n, true from generate_series(0, $1 - 1) n where $2 > 0",
    ] {
        sqlx::query(statement).bind(count).bind(first).execute(&mut *db).await?;
    }
    db.commit().await?;
    Ok(site)
}

async fn newest(pool: &PgPool) -> anyhow::Result<Drain> {
    Ok(drains::list(&mut *pool.acquire().await?, FULL, None, 1).await?.remove(0))
}

async fn is_over(pool: &PgPool) -> Done {
    testkit::eventually("the cell is empty", || async {
        let now = newest(pool).await?;
        anyhow::ensure!(now.ended_at.is_some(), "{now:?}");
        Ok(())
    })
    .await
}

async fn state_of(pool: &PgPool, name: &str) -> anyhow::Result<String> {
    Ok(store::cells::find(&mut *pool.acquire().await?, name).await?.unwrap().state)
}

async fn counts(pool: &PgPool) -> anyhow::Result<BTreeMap<String, i64>> {
    let candidates = store::cells::candidates(&mut *pool.acquire().await?, Near::Of("acme-corp", None)).await?;
    Ok(candidates.into_iter().filter(|cell| cell.tenants > 0).map(|cell| (cell.id, cell.tenants)).collect())
}

fn shares(of: &[(&str, i64)]) -> BTreeMap<String, i64> {
    of.iter().map(|(name, tenants)| ((*name).to_owned(), *tenants)).collect()
}

/// With a reader of the feed as routers are, who must be able to follow every step.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_tenants_of_a_lost_cell_are_routed_away() -> Done {
    const TENANTS: i64 = 10_000;
    let site = crowded(TENANTS).await?;
    let pool = &site.tenancy.0.pool;
    let before = snapshot(pool).await?;
    let planned = draining::plan(&site.tenancy, &platform(), &cell(FULL), None).await?;
    assert_eq!(planned, shares(&[("shared-2", TENANTS / 2), ("shared-3", TENANTS / 2)]));
    let begun = std::time::Instant::now();
    draining::begin(&site.tenancy, &platform(), &cell(FULL), Way::Route, None).await?;
    is_over(pool).await?;
    let took = begun.elapsed();
    println!("    {TENANTS} tenants were routed away in {:.1} s", took.as_secs_f64());
    assert!(took < Duration::from_secs(60), "{took:?}");
    assert_eq!(counts(pool).await?, planned);
    assert_eq!(state_of(pool, FULL).await?, "drained");
    assert_eq!(store::cells::departed(&mut *pool.acquire().await?, FULL).await?, TENANTS.unsigned_abs());
    let mut reader = before;
    while reader.version < snapshot(pool).await?.version {
        for (version, change) in routing::after(&mut *pool.acquire().await?, reader.version, 1_000).await? {
            reader.apply(version, &change)?;
        }
    }
    assert_eq!(reader, snapshot(pool).await?);
    let generations: std::collections::BTreeSet<_> = reader.routes.values().map(|route| route.generation).collect();
    assert_eq!(generations.len() as i64, TENANTS);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_take_along_what_they_have_though_cells_fail() -> Done {
    let site = populated(9).await?;
    let pool = &site.tenancy.0.pool;
    let model = Model::new(pool, 11, Some(8));
    let ids: Vec<TenantId> = (0..9).map(|n| tenant(&format!("t-{n}"))).collect();
    for (row, id) in (0..).zip(&ids) {
        let generation = snapshot(pool).await?.routes[id].generation.0;
        assert!(model.write(&cell(FULL), id, generation, row).is_some());
    }
    site.tenancy.lead(&site.tasks, Arc::clone(&model) as Arc<dyn Cells>);
    let (drain, left, new) =
        draining::begin(&site.tenancy, &platform(), &cell(FULL), Way::Move, Some("shared-2")).await?;
    assert!(new && left == 9 && drain.tenants == 9);
    is_over(pool).await?;
    assert_eq!(counts(pool).await?, shares(&[("shared-2", 9)]));
    for (row, id) in (0..).zip(&ids) {
        assert!(model.has(&cell("shared-2"), id, row), "{id}");
    }
    assert_eq!(state_of(pool, FULL).await?, "drained");
    assert_eq!(replay(pool).await?, snapshot(pool).await?);
    Ok(())
}

/// Capacity and region hold for a tenant that is brought away as for a new one.
#[tokio::test]
async fn tenants_go_where_there_is_room_and_where_they_must_be() -> Done {
    let site = populated(2).await?;
    let (tenancy, platform) = (&site.tenancy, platform());
    for (number, name, capacity, region) in
        [(1, FULL, 0, "north"), (3, "shared-2", 1, "south"), (4, "shared-3", 2, "north")]
    {
        let (capacity, region) = (Some(capacity), Some(region.to_owned()));
        let told = Registration { capacity, region, ..registration(number, CellKind::Shared) };
        cells::put(tenancy, &platform, &cell(name), &told, false).await?;
    }
    let northern = Birth { region: Some("north"), ..born("acme-corp", Some(FULL), None) };
    tenants::create(tenancy, &platform, &tenant("northern"), northern).await?;
    let refused = moves::begin(tenancy, &platform, &tenant("northern"), "shared-2").await;
    assert!(matches!(refused, Err(Error::Placement(_))), "{refused:?}");
    let plan = async |to| draining::plan(tenancy, &platform, &cell(FULL), to).await;
    assert_eq!(plan(None).await?, shares(&[("shared-2", 1), ("shared-3", 2)]));
    assert!(matches!(plan(Some("shared-3")).await, Err(Error::Placement(_))));
    assert!(matches!(plan(Some("shared-2")).await, Err(Error::Placement(_))));
    // Said again without them, they stay.
    cells::put(tenancy, &platform, &cell("shared-2"), &registration(3, CellKind::Shared), false).await?;
    assert_eq!(plan(None).await?, shares(&[("shared-2", 1), ("shared-3", 2)]));
    Ok(())
}

#[tokio::test]
async fn a_drain_is_one_at_a_time_and_its_cell_takes_nobody() -> Done {
    let site = populated(2).await?;
    let (tenancy, platform, full) = (&site.tenancy, platform(), cell(FULL));
    let begin = async |caller: &Caller, way, to| draining::begin(tenancy, caller, &full, way, to).await;
    assert!(matches!(begin(&admin_of("acme-corp"), Way::Move, None).await, Err(Error::Forbidden)));
    assert!(matches!(begin(&platform, Way::Move, Some(FULL)).await, Err(Error::Invalid(_))));
    assert!(matches!(begin(&platform, Way::Move, Some("nowhere")).await, Err(Error::Invalid(_))));
    assert_eq!(state_of(&tenancy.0.pool, FULL).await?, "serving", "what was refused has changed nothing");
    // Nobody leads: the moves stay where they begin.
    let (first, ..) = begin(&platform, Way::Move, None).await?;
    let (same, left, again) = begin(&platform, Way::Move, None).await?;
    assert!(!again && left == 2 && same.id == first.id);
    assert!(matches!(begin(&platform, Way::Route, None).await, Err(Error::Draining)));
    let newcomer = tenant("newcomer");
    let refused = tenants::create(tenancy, &platform, &newcomer, born("acme-corp", Some(FULL), None)).await;
    assert!(matches!(refused, Err(Error::Placement(_))), "{refused:?}");
    let active = Registration { state: Some(CellState::Serving), ..registration(1, CellKind::Shared) };
    assert!(matches!(cells::put(tenancy, &platform, &full, &active, false).await, Err(Error::Draining)));
    let (stopped, _) = draining::cancel(tenancy, &platform, &full).await?;
    assert!(stopped.cancelled);
    assert!(matches!(draining::cancel(tenancy, &platform, &full).await, Err(Error::NotFound("drain"))));
    tenants::create(tenancy, &platform, &newcomer, born("acme-corp", Some(FULL), None)).await?;
    Ok(())
}

/// Each move of a lost cell ends where its tenant is best off.
#[tokio::test(flavor = "multi_thread")]
async fn moves_that_need_a_lost_cell_end() -> Done {
    let site = populated(2).await?;
    let (tenancy, pool) = (&site.tenancy, &site.tenancy.0.pool);
    let (fenced, coming) = (tenant("t-0"), tenant("coming"));
    tenants::create(tenancy, &platform(), &coming, born("acme-corp", Some("shared-2"), None)).await?;
    let mut begun = Vec::new();
    for (id, target) in [(&fenced, "shared-2"), (&coming, FULL)] {
        let (one, _) = moves::begin(tenancy, &platform(), id, target).await?;
        moves::advance(tenancy, one.id, Step::Copy).await?;
        moves::close(tenancy, one.id).await?;
        moves::advance(tenancy, one.id, Step::Close).await?;
        begun.push(one.id);
    }
    draining::begin(tenancy, &platform(), &cell(FULL), Way::Route, Some("shared-3")).await?;
    is_over(pool).await?;
    for id in begun {
        let over = store::moves::lock(&mut *pool.acquire().await?, id).await?.unwrap();
        assert_eq!(over.step()?, Step::Cancelled, "{over:?}");
    }
    assert_eq!(counts(pool).await?, shares(&[("shared-2", 1), ("shared-3", 2)]));
    let table = snapshot(pool).await?;
    assert_eq!(table.routes[&coming].cell, cell("shared-2"));
    assert_eq!(replay(pool).await?, table);
    let listed = routing::tenants_of(&mut *pool.acquire().await?, &cell("shared-2"), "", 10).await?;
    assert_eq!(listed[0].2, None, "it is let in again");
    Ok(())
}

/// What has its rows in its new cell goes on to there, though its old one is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_move_past_its_carry_needs_the_lost_cell_no_more() -> Done {
    let site = populated(1).await?;
    let (tenancy, pool, id) = (&site.tenancy, &site.tenancy.0.pool, tenant("t-0"));
    let (one, _) = moves::begin(tenancy, &platform(), &id, "shared-2").await?;
    moves::advance(tenancy, one.id, Step::Copy).await?;
    moves::close(tenancy, one.id).await?;
    for step in [Step::Close, Step::Fence, Step::Settle, Step::Carry] {
        moves::advance(tenancy, one.id, step).await?;
    }
    draining::begin(tenancy, &platform(), &cell(FULL), Way::Route, Some("shared-3")).await?;
    assert!(newest(pool).await?.ended_at.is_none());
    moves::switch(tenancy, one.id).await?;
    is_over(pool).await?;
    assert_eq!(counts(pool).await?, shares(&[("shared-2", 1)]));
    // There is nothing to clean up in a cell that is there no more.
    cells::remove(tenancy, &platform(), &cell(FULL)).await?;
    let over = store::moves::lock(&mut *pool.acquire().await?, one.id).await?.unwrap();
    assert_eq!(over.step()?, Step::Done);
    Ok(())
}
