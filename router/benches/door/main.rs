//! The door beside other proxies that do the same work on the same core: what a request costs, what a tenant and an
//! idle connection take, how long a start takes, what time is added.
//!
//! `make bench-router`, or `-- TENANTS…` for other sizes. Everything that answers or asks runs on the first core, the
//! proxies run on the second, one thread each. Rounds go forth and back over the proxies; medians.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cells;
#[path = "../../tests/door/certs.rs"]
#[allow(dead_code, reason = "the tests need more of it")]
mod certs;
mod ground;
mod load;
mod measure;
mod proxies;
mod report;
#[path = "../../tests/door/tokens.rs"]
mod tokens;

use std::time::Duration;

use ground::Ground;
use load::Load;
use measure::Usage;
use proxies::{Kind, Running};
use report::Row;

// The router's own: what is compared is the work, not the allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SIZES: [usize; 3] = [2, 10_000, 1_000_000];
const ROUNDS: usize = 6;
const ROUND: Duration = Duration::from_secs(3);
const WARMING: Duration = Duration::from_secs(1);
const CONNECTIONS: usize = 32;
const IDLE: usize = 4_000;
/// The core of the clients and the cells, and the core of the proxies.
const CORES: (usize, usize) = (0, 1);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    router::tls::install_provider();
    if arguments.first().is_some_and(|mode| mode == proxies::bare::MODE) {
        proxies::bare::run(&arguments[1..]);
        return;
    }
    let asked: Vec<usize> = arguments.iter().filter_map(|text| text.parse().ok()).collect();
    measure::pin_self(CORES.0);
    measure::many_files();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let mut smallest = Vec::new();
        for tenants in if asked.is_empty() { SIZES.to_vec() } else { asked } {
            size(tenants, &mut smallest).await;
        }
    });
}

/// All proxies with a map of so many tenants. `smallest` holds the rows of the first size.
async fn size(tenants: usize, smallest: &mut Vec<Row>) {
    let ground = Ground::lay(tenants).await;
    let mut rows = Vec::new();
    let mut running = Vec::new();
    for kind in Kind::here() {
        let proxy = Running::start(kind, &ground).await;
        Load::of(&ground, &proxy).closed(CONNECTIONS, WARMING).await;
        rows.push(Row::begun(&proxy));
        running.push(proxy);
    }
    for round in 0..ROUNDS {
        let mut order: Vec<usize> = (0..running.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for at in order {
            let proxy = &running[at];
            let before = Usage::of(proxy.pid());
            let done = Load::of(&ground, proxy).closed(CONNECTIONS, ROUND).await;
            rows[at].add(Usage::of(proxy.pid()).since(&before), &done);
        }
    }
    let rate = rows.iter().map(Row::rate).fold(f64::INFINITY, f64::min) / 2.0;
    let direct = Load::direct(&ground).paced(CONNECTIONS, rate, ROUND).await;
    for (row, proxy) in rows.iter_mut().zip(&running) {
        row.waited = Some(Load::of(&ground, proxy).paced(CONNECTIONS, rate, ROUND).await);
        row.syscalls = measure::syscalls(proxy.pid(), Load::of(&ground, proxy).closed(CONNECTIONS, ROUND)).await;
    }
    if smallest.is_empty() {
        for (row, proxy) in rows.iter_mut().zip(&running) {
            let before = measure::resident(proxy.pid());
            let held = Load::of(&ground, proxy).hold(IDLE).await;
            row.idle = Some((measure::resident(proxy.pid()) - before) * 1024.0 / IDLE as f64);
            drop(held);
        }
    }
    report::print(tenants, rate, &direct, &rows, smallest);
    if smallest.is_empty() {
        *smallest = rows;
    }
}
