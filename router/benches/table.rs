//! The routing table at 10⁴, 10⁶ and 10⁷ tenants: bytes, lookups, cold start, one change, packing.
//! `cargo bench -p router --bench table [-- TENANTS…]`; medians, one thread.
#![allow(clippy::print_stdout, clippy::expect_used)]

use std::time::{Duration, Instant};

use contracts::routing::{CellEndpoint, Change, Route};
use contracts::{CellId, Generation, TenantId, TierId};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use router::shelf::{Kind, Shelf};
use router::table::View;

const SIZES: [u64; 3] = [10_000, 1_000_000, 10_000_000];
const CELLS: u64 = 100;
/// Lookups per measurement, and measurements per median.
const LOOKUPS: usize = 100_000;
const ROUNDS: usize = 11;
const CHANGES: u64 = 10_000;

fn main() {
    let asked: Vec<u64> = std::env::args().skip(1).filter_map(|text| text.parse().ok()).collect();
    println!(
        "| tenants | bytes a tenant | resident, MiB | by host, ns | by tenant, ns | cold start, ms | a change, µs | by host after {CHANGES} changes, ns | packing, s |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for tenants in if asked.is_empty() { SIZES.to_vec() } else { asked } {
        row(tenants);
    }
}

fn row(tenants: u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let shelf = Shelf::new(folder.path(), Kind::Routing).expect("a shelf");
    let view = View::of(1, cells().into_iter(), std::iter::empty(), (0..tenants).map(route)).expect("a table");
    shelf.put(1, view.bytes()).expect("a snapshot");
    let bytes = view.bytes().len() as f64 / tenants as f64;
    drop(view);

    let before = resident();
    let begun = Instant::now();
    let mut view = shelf
        .newest(|version, bytes| View::read(version, bytes).map_err(|error| error.to_string()))
        .expect("a shelf that can be read")
        .value
        .expect("a table");
    assert!(view.by_host(&host(tenants / 2)).is_some());
    let cold = begun.elapsed();
    let memory = resident() - before;

    let mut random = StdRng::seed_from_u64(7);
    let asked: Vec<u64> = (0..LOOKUPS).map(|_| random.random_range(0..tenants)).collect();
    let hosts: Vec<String> = asked.iter().map(|n| host(*n)).collect();
    let names: Vec<TenantId> = asked.iter().map(|n| tenant(*n)).collect();
    let by_host = median(|| hosts.iter().filter(|host| view.by_host(host).is_some()).count());
    let by_tenant = median(|| names.iter().filter(|tenant| view.by_tenant(tenant).is_some()).count());

    let begun = Instant::now();
    for step in 0..CHANGES {
        let moved = Route { generation: Generation(9), ..route(random.random_range(0..tenants)) };
        view.apply(2 + step, &Change::TenantPlaced { route: moved }).expect("a change");
    }
    let change = begun.elapsed() / CHANGES as u32;
    let changed = median(|| hosts.iter().filter(|host| view.by_host(host).is_some()).count());
    let begun = Instant::now();
    let packed = view.repacked().expect("a table");
    let packing = begun.elapsed();
    assert_eq!(packed.tenants(), tenants);
    println!(
        "| {tenants} | {bytes:.1} | {memory:.0} | {} | {} | {:.0} | {:.1} | {} | {:.2} |",
        by_host.as_nanos(),
        by_tenant.as_nanos(),
        cold.as_secs_f64() * 1e3,
        change.as_secs_f64() * 1e6,
        changed.as_nanos(),
        packing.as_secs_f64()
    );
}

/// Of one of [`LOOKUPS`].
fn median(look: impl Fn() -> usize) -> Duration {
    let mut took: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let begun = Instant::now();
            assert_eq!(look(), LOOKUPS);
            begun.elapsed() / LOOKUPS as u32
        })
        .collect();
    took.sort_unstable();
    took[ROUNDS / 2]
}

fn tenant(n: u64) -> TenantId {
    TenantId::new(format!("t{n:07}")).expect("a tenant")
}

fn host(n: u64) -> String {
    format!("t{n:07}.acme-data.example")
}

fn cells() -> Vec<CellEndpoint> {
    let endpoint = |n| CellEndpoint {
        cell: CellId::new(format!("shared-{n}")).expect("a cell"),
        http: format!("10.0.{n}.1:8080"),
        flight: format!("10.0.{n}.1:50133"),
        door: None,
    };
    (0..CELLS).map(endpoint).collect()
}

fn route(n: u64) -> Route {
    let cell = CellId::new(format!("shared-{}", n % CELLS)).expect("a cell");
    Route { tenant: tenant(n), cell, generation: Generation(1 + n % 5), hosts: vec![host(n)], tier: TierId::default() }
}

/// Resident memory of this process, MiB.
fn resident() -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or_default() / 1024.0
}
