use contracts::routing::{CellEndpoint, Change, FeedLine, Route, Table};
use contracts::{CellId, Generation, TenantId};
use rand::{Rng, SeedableRng};

use super::{Follower, StepError, Surface, TableError, View};
use crate::shelf::{Kind, open, seal};

fn cell(name: &str, last: u8) -> CellEndpoint {
    CellEndpoint {
        cell: CellId::new(name).unwrap(),
        http: format!("127.0.2.{last}:8080"),
        flight: format!("127.0.2.{last}:50133"),
    }
}

fn route(tenant: &str, cell: &str, generation: u64) -> Route {
    Route {
        tenant: TenantId::new(tenant).unwrap(),
        cell: CellId::new(cell).unwrap(),
        generation: Generation(generation),
        hosts: vec![format!("{tenant}.localhost")],
    }
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

fn view() -> View {
    follower().take(&View::default()).unwrap().unwrap()
}

#[test]
fn a_host_leads_to_its_cells_pinned_entrance() {
    let view = view();
    let found = view.by_host("globex.localhost").unwrap();
    let entrance = view.entrance(&found.cell, Surface::Flight).unwrap();
    assert_eq!(entrance.address, "127.0.2.2:50133".parse().unwrap());
    assert_eq!(entrance.name, "sql-bi-gateway.dedicated-1.cytoplane.internal");
    assert_eq!(view.entrance(&found.cell, Surface::Http).unwrap().name, "gateway.dedicated-1.cytoplane.internal");
    assert!(view.by_host("nobody.localhost").is_none());
}

#[test]
fn a_gap_a_late_delta_and_a_heartbeat_ahead_are_told_apart() {
    let mut follower = follower();
    assert!(matches!(follower.step(placed(6, route("initech", "shared-1", 1))), Err(StepError::Lost(_))));
    assert!(matches!(follower.step(FeedLine::Heartbeat { version: 9 }), Err(StepError::Lost(_))));
    follower.step(FeedLine::Heartbeat { version: 4 }).unwrap();
    follower.step(placed(2, route("acme", "dedicated-1", 9))).unwrap();
    let view = follower.take(&View::default()).unwrap().unwrap();
    assert_eq!(view.by_host("acme.localhost").unwrap().cell.as_str(), "shared-1");
    assert_eq!(view.version(), 4);
}

#[test]
fn an_older_or_emptied_snapshot_is_refused() {
    let held = view().table().clone();
    let older = Table { version: 3, ..held.clone() };
    let emptied = Table { version: 9, routes: Default::default(), ..held.clone() };
    let mut follower = Follower::new(held);
    for table in [older, emptied] {
        let refused = follower.step(FeedLine::Snapshot { table });
        assert!(matches!(refused, Err(StepError::Refused(TableError::Rule(_)))), "{refused:?}");
    }
    assert!(follower.take(&View::default()).unwrap().is_none());
}

#[test]
fn a_table_with_an_address_or_host_that_is_none_is_refused() {
    let good = view().table().clone();
    let mut address = good.clone();
    address.cells.get_mut(&CellId::new("shared-1").unwrap()).unwrap().http = "shared-1:8080".into();
    assert!(matches!(View::new(address), Err(TableError::Address(_))));
    let mut host = good.clone();
    host.routes.get_mut(&TenantId::new("acme").unwrap()).unwrap().hosts = vec!["ACME.localhost".into()];
    assert!(matches!(View::new(host), Err(TableError::Host(_))));
    let mut misfiled = good;
    misfiled.routes.insert(TenantId::new("initech").unwrap(), route("hooli", "shared-1", 1));
    assert!(matches!(View::new(misfiled), Err(TableError::Misfiled(_))));
}

#[test]
fn a_delta_with_a_bad_address_brings_the_last_good_table_back() {
    let mut follower = follower();
    let good = follower.take(&View::default()).unwrap().unwrap();
    let mut endpoint = cell("shared-1", 1);
    endpoint.http = "nowhere".into();
    follower.step(FeedLine::Delta { version: 5, change: Change::CellUpserted { endpoint } }).unwrap();
    assert!(follower.take(&good).is_err());
    assert_eq!(follower.version(), 4);
}

/// Every mutation of a snapshot file either reads as exactly the same table or is refused.
#[test]
fn ten_thousand_damaged_snapshots_are_refused() {
    let table = view().table().clone();
    let payload = serde_json::to_vec(&table).unwrap();
    let sealed = seal(Kind::Routing, table.version, &payload);
    let mut random = rand::rngs::StdRng::seed_from_u64(20_261_123);
    let mut refused = 0;
    for _ in 0..12_000 {
        let damaged = damage(&sealed, &mut random);
        match open(Kind::Routing, &damaged)
            .map_err(|e| e.to_string())
            .and_then(|(version, payload)| View::read(version, payload).map_err(|e| e.to_string()))
        {
            Ok(view) => {
                assert_eq!(damaged, sealed);
                assert_eq!(view.table(), &table);
            }
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 11_000, "{refused}");
}

/// Damage that keeps the seal intact: the table's own checks must hold, and nothing may panic.
#[test]
fn ten_thousand_resealed_mutations_load_whole_or_not_at_all() {
    let table = view().table().clone();
    let payload = serde_json::to_vec(&table).unwrap();
    let mut random = rand::rngs::StdRng::seed_from_u64(42);
    for _ in 0..10_000 {
        let damaged = damage(&payload, &mut random);
        let sealed = seal(Kind::Routing, table.version, &damaged);
        let (version, inner) = open(Kind::Routing, &sealed).unwrap();
        if let Ok(view) = View::read(version, inner) {
            assert_eq!(view.version(), table.version);
            for route in view.table().routes.values() {
                assert!(view.entrance(&route.cell, Surface::Http).is_some());
                assert!(route.hosts.iter().all(|host| view.by_host(host) == Some(route)));
            }
        }
    }
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
