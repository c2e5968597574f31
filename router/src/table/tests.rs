use contracts::groups::Groups;
use contracts::routing::{ApplyError, CellEndpoint, Change, FeedLine, Route, Table};
use contracts::tiers::Tier;
use contracts::{CellId, Generation, GroupId, TenantId, TierId};
use rand::{Rng, SeedableRng};

use super::{Follower, StepError, Surface, TableError, View};
use crate::shelf::{Kind, open, seal};

fn cell(name: &str, last: u8) -> CellEndpoint {
    CellEndpoint {
        cell: CellId::new(name).unwrap(),
        http: format!("127.0.2.{last}:8080"),
        flight: format!("127.0.2.{last}:50133"),
        door: None,
    }
}

fn route(tenant: &str, cell: &str, generation: u64) -> Route {
    Route {
        tenant: TenantId::new(tenant).unwrap(),
        cell: CellId::new(cell).unwrap(),
        generation: Generation(generation),
        hosts: vec![format!("{tenant}.localhost")],
        tier: TierId::default(),
    }
}

fn tier(name: &str) -> TierId {
    TierId::new(name).unwrap()
}

fn placed(version: u64, route: Route) -> FeedLine {
    FeedLine::Delta { version, change: Change::TenantPlaced { route } }
}

fn follower() -> Follower {
    let mut follower = Follower::default();
    for (version, endpoint) in [(1, cell("shared-1", 1)), (2, cell("dedicated-1", 2))] {
        follower.step(FeedLine::Delta { version, change: Change::CellUpserted { endpoint } }).unwrap();
    }
    follower.step(placed(3, route("acme", "shared-1", 3))).unwrap();
    follower.step(placed(4, route("globex", "dedicated-1", 4))).unwrap();
    follower
}

/// Offers a whole table as it travels.
fn offer(follower: &mut Follower, table: &Table) -> Result<(), StepError> {
    table.lines().into_iter().try_for_each(|line| follower.step(line))
}

fn read(table: &Table) -> Result<View, StepError> {
    let mut follower = Follower::default();
    offer(&mut follower, table)?;
    Ok(follower.view().clone())
}

fn view() -> View {
    follower().take().unwrap()
}

#[test]
fn a_host_leads_to_its_cells_pinned_entrance() {
    let view = view();
    let found = view.by_host("globex.localhost").unwrap();
    let entered = |surface| {
        let gate = view.gate(found.cell, surface).unwrap();
        let super::At::Address(address) = gate.at else { panic!("a name") };
        gate.entrance(address)
    };
    let entrance = entered(Surface::Flight);
    assert_eq!(entrance.address, "127.0.2.2:50133".parse().unwrap());
    assert_eq!(&*entrance.name, "sql-bi-gateway.dedicated-1.cytoplane.internal");
    assert_eq!(&*entered(Surface::Http).name, "gateway.dedicated-1.cytoplane.internal");
    assert!(view.by_host("nobody.localhost").is_none());
}

#[test]
fn a_wildcard_takes_the_names_of_one_label_that_nobody_holds() {
    let mut follower = follower();
    let mut acme = route("acme", "shared-1", 5);
    acme.hosts.push("*.acme.example".into());
    follower.step(placed(5, acme)).unwrap();
    let mut globex = route("globex", "dedicated-1", 6);
    globex.hosts.push("own.acme.example".into());
    follower.step(placed(6, globex)).unwrap();
    let mut taken = route("initech", "shared-1", 7);
    taken.hosts.push("*.acme.example".into());
    assert!(matches!(follower.step(placed(7, taken)), Err(StepError::Lost(ApplyError::HostTaken { .. }))));
    let views = [follower.view().clone(), follower.view().repacked().unwrap()];
    for view in views {
        let tenant = |host| view.by_host(host).map(|seat| seat.tenant.to_owned());
        assert_eq!(tenant("any.acme.example").as_deref(), Some("acme"));
        assert_eq!(tenant("own.acme.example").as_deref(), Some("globex"));
        assert_eq!(tenant("acme.example"), None);
        assert_eq!(tenant("a.b.acme.example"), None);
    }
}

#[test]
fn a_gap_a_late_delta_and_a_heartbeat_ahead_are_told_apart() {
    let mut follower = follower();
    assert!(matches!(follower.step(placed(6, route("initech", "shared-1", 1))), Err(StepError::Lost(_))));
    assert!(matches!(follower.step(FeedLine::Heartbeat { version: 9 }), Err(StepError::Lost(_))));
    follower.step(FeedLine::Heartbeat { version: 4 }).unwrap();
    follower.step(placed(2, route("acme", "dedicated-1", 9))).unwrap();
    let view = follower.take().unwrap();
    assert_eq!(view.by_host("acme.localhost").unwrap().cell.as_str(), "shared-1");
    assert_eq!(view.version(), 4);
}

#[test]
fn an_older_or_emptied_snapshot_is_refused() {
    let held = table(&view());
    let older = Table { version: 3, ..held.clone() };
    let emptied = Table { version: 9, routes: Default::default(), ..held.clone() };
    let mut backwards = Table { version: 9, ..held.clone() };
    backwards.routes.insert(TenantId::new("acme").unwrap(), route("acme", "shared-1", 2));
    let mut differs = held.clone();
    differs.routes.insert(TenantId::new("acme").unwrap(), route("acme", "shared-1", 8));
    let mut follower = Follower::new(view());
    for table in [older, emptied.clone(), backwards, differs] {
        let refused = offer(&mut follower, &table);
        assert!(matches!(refused, Err(StepError::Refused(TableError::Rule(_)))), "{refused:?}");
    }
    assert!(follower.take().is_none());
    // Its writer has removed them all.
    offer(&mut follower, &Table { removed: 2, ..emptied }).unwrap();
    assert_eq!(follower.take().unwrap().tenants(), 0);
}

#[test]
fn a_table_with_an_address_or_host_that_is_none_is_refused() {
    let good = table(&view());
    let mut address = good.clone();
    address.cells.get_mut(&CellId::new("shared-1").unwrap()).unwrap().http = "shared-1:0".into();
    assert!(matches!(read(&address), Err(StepError::Refused(TableError::Address(_)))));
    let mut host = good.clone();
    host.routes.get_mut(&TenantId::new("acme").unwrap()).unwrap().hosts = vec!["ACME.localhost".into()];
    assert!(matches!(read(&host), Err(StepError::Refused(TableError::Host(_)))));
    let mut shared = good.clone();
    shared.routes.get_mut(&TenantId::new("acme").unwrap()).unwrap().hosts.push("globex.localhost".into());
    assert!(matches!(read(&shared), Err(StepError::Refused(TableError::Shape(_)))));
    assert_eq!(table(&read(&good).unwrap()), good);
}

#[test]
fn a_table_that_does_not_come_whole_and_in_order_changes_nothing() {
    let good = Table { version: 9, ..table(&view()) };
    let lines = good.lines();
    let [begin, routes, end] = &lines[..] else { panic!("{lines:?}") };
    let early = FeedLine::End { version: 9, tenants: 3 };
    let other = FeedLine::End { version: 8, tenants: 2 };
    let change = placed(5, route("acme", "shared-1", 5));
    for broken in [
        vec![routes, end],
        vec![end],
        vec![begin, end],
        vec![begin, routes, routes, end],
        vec![begin, routes, &early],
        vec![begin, routes, &other],
        vec![begin, routes, &change],
    ] {
        let mut follower = Follower::new(view());
        let refused = broken.iter().try_for_each(|line| follower.step((*line).clone()));
        assert!(matches!(refused, Err(StepError::Refused(TableError::Shape(_)))), "{broken:?}: {refused:?}");
        assert!(follower.take().is_none());
        offer(&mut follower, &good).unwrap();
        assert_eq!(table(&follower.take().unwrap()), good);
    }
}

#[test]
fn a_delta_with_a_bad_address_is_refused_and_changes_nothing() {
    let mut follower = follower();
    let good = table(&follower.take().unwrap());
    let mut endpoint = cell("shared-1", 1);
    endpoint.http = "nowhere".into();
    let refused = follower.step(FeedLine::Delta { version: 5, change: Change::CellUpserted { endpoint } });
    assert!(matches!(refused, Err(StepError::Refused(TableError::Address(_)))), "{refused:?}");
    assert!(follower.take().is_none());
    assert_eq!(table(follower.view()), good);
}

/// The same log into the table of the contract and into a view that is packed again now and then.
#[test]
fn a_view_says_what_the_contracts_table_says() {
    let mut random = rand::rngs::StdRng::seed_from_u64(11);
    for _ in 0..40 {
        let (mut follower, mut model) = (Follower::default(), Table::default());
        let mut packing = None;
        for _ in 0..300 {
            let change = any_change(&mut random);
            let version = model.version + 1;
            let expected = model.apply(version, &change);
            let done = follower.step(FeedLine::Delta { version, change: change.clone() });
            assert_eq!(done.is_ok(), expected.is_ok(), "{change:?}: {done:?} {expected:?}");
            match random.random_range(0..20) {
                0 => packing = Some(follower.to_pack()),
                1 => {
                    if let Some(view) = packing.take() {
                        follower.packed(view.repacked().unwrap()).unwrap();
                    }
                }
                _ => {}
            }
            agree(follower.view(), &model);
        }
        let packed = follower.view().repacked().unwrap();
        agree(&packed, &model);
        agree(&View::read(model.version, packed.bytes().clone()).unwrap(), &model);
    }
}

fn any_change(random: &mut impl Rng) -> Change {
    let name = |random: &mut dyn rand::RngCore| format!("t{}", random.random_range(10..22));
    let cell_name = format!("cell-{}", random.random_range(0..3));
    let some_tier = tier(["standard", "gold", "silver"][random.random_range(0..3)]);
    match random.random_range(0..14) {
        3 | 4 => {
            let requests_per_second = random.random_range(0..3);
            Change::TierUpserted { tier: Tier { requests_per_second, request_burst: 1, ..Tier::unlimited(some_tier) } }
        }
        6 => Change::GroupsChanged { groups: Groups { ids: [GroupId::new(cell_name).unwrap()].into() } },
        5 => Change::TierRemoved { tier: some_tier },
        0 => Change::CellUpserted { endpoint: cell(&cell_name, random.random_range(1..9)) },
        1 => Change::CellRemoved { cell: CellId::new(cell_name).unwrap() },
        2 => Change::TenantRemoved { tenant: TenantId::new(name(random)).unwrap() },
        _ => {
            let mut route = route(&name(random), &cell_name, random.random_range(1..4));
            match random.random_range(0..4) {
                0 => route.hosts.push(format!("{}.example", name(random))),
                1 => route.hosts = vec![format!("{}.own.example", name(random)), format!("{}.localhost", name(random))],
                2 => route.tier = some_tier,
                _ => {}
            }
            Change::TenantPlaced { route }
        }
    }
}

fn agree(view: &View, model: &Table) {
    assert_eq!(&table(view), model);
    assert!(view.is(&read(model).unwrap()));
    assert_eq!(view.tenants(), model.routes.len() as u64);
    for number in 10..22 {
        let tenant = TenantId::new(format!("t{number}")).unwrap();
        let expected = model.routes.get(&tenant);
        assert_eq!(view.route(&tenant).as_ref(), expected);
        assert_eq!(view.by_tenant(&tenant).map(|seat| seat.generation), expected.map(|route| route.generation));
        assert_eq!(view.by_tenant(&tenant).map(|seat| seat.tier), expected.map(|route| &route.tier));
        for ending in ["localhost", "example", "own.example"] {
            let host = format!("t{number}.{ending}");
            let holder = model.routes.values().find(|route| route.hosts.contains(&host));
            assert_eq!(
                view.by_host(&host).map(|seat| seat.tenant),
                holder.map(|route| route.tenant.as_str()),
                "{host}"
            );
        }
    }
}

/// The whole view in the contract's form.
fn table(view: &View) -> Table {
    let cells = view.cells().map(|endpoint| (endpoint.cell.clone(), endpoint.clone())).collect();
    let routes = view.routes().map(|route| (route.tenant.clone(), route)).collect();
    let tiers = view.tiers().map(|tier| (tier.tier.clone(), tier.clone())).collect();
    Table { version: view.version(), cells, routes, tiers, removed: view.removed, groups: view.groups.clone() }
}

/// Tenants with hosts of a common ending, of another, of their own; enough that slots collide.
fn populous() -> View {
    let mut follower = follower();
    for version in 5..300 {
        let mut route = route(&format!("tenant-{version}"), "shared-1", version);
        match version % 3 {
            0 => route.hosts.push(format!("data.customer-{version}.example")),
            1 => route.hosts = vec![format!("tenant-{version}.eu.localhost")],
            _ => {}
        }
        follower.step(placed(version, route)).unwrap();
    }
    follower.view().repacked().unwrap()
}

/// Every mutation of a snapshot file either reads as exactly the same table or is refused.
#[test]
fn a_hundred_thousand_damaged_snapshots_are_refused() {
    let view = view().repacked().unwrap();
    let sealed = seal(Kind::Routing, view.version(), view.bytes());
    let mut random = rand::rngs::StdRng::seed_from_u64(20_261_123);
    let mut refused = 0;
    for _ in 0..100_000 {
        let damaged = damage(&sealed, &mut random);
        match open(Kind::Routing, &damaged)
            .map_err(|e| e.to_string())
            .and_then(|(version, payload)| View::read(version, payload.to_vec().into()).map_err(|e| e.to_string()))
        {
            Ok(read) => {
                assert_eq!(damaged, sealed);
                assert_eq!(table(&read), table(&view));
            }
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 95_000, "{refused}");
}

/// Damage that keeps the seal intact: nothing panics or fails to end, and a tenant that is found
/// is the one asked for.
#[test]
fn resealed_mutations_are_read_without_harm() {
    let view = populous();
    let routes: Vec<Route> = view.routes().collect();
    let mut random = rand::rngs::StdRng::seed_from_u64(42);
    let mut missed = 0;
    for _ in 0..3_000 {
        let damaged = damage(view.bytes(), &mut random);
        let Ok(read) = View::read(view.version(), damaged.into()) else { continue };
        for route in &routes {
            let found = read.by_tenant(&route.tenant);
            assert!(found.is_none_or(|seat| seat.tenant == route.tenant.as_str()));
            missed += usize::from(found.is_none());
            missed += route.hosts.iter().filter(|host| read.by_host(host).is_none()).count();
        }
    }
    assert!(missed > 0, "no damage hit a slot or a record");
}

fn damage(bytes: &[u8], random: &mut impl Rng) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for _ in 0..random.random_range(1..4) {
        if out.is_empty() {
            break;
        }
        let at = random.random_range(0..out.len());
        match random.random_range(0..5) {
            0 => out[at] ^= 1 << random.random_range(0..8),
            1 => out.truncate(at),
            2 => out.insert(at, random.random()),
            3 => {
                out.remove(at);
            }
            _ => {
                let end = (at + random.random_range(1..32)).min(out.len());
                let piece = out[at..end].to_vec();
                out.extend_from_slice(&piece);
            }
        }
    }
    out
}
