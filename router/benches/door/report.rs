//! The table of one size.

use crate::load::Done;
use crate::measure::{Usage, resident};
use crate::proxies::{Kind, Running};

/// One proxy at one size.
pub struct Row {
    kind: Kind,
    /// To the first right answer, ms.
    start: f64,
    /// After warming up, KiB.
    resident: f64,
    /// Of each round: µs of CPU a request, of it in user space, requests a second.
    rounds: Vec<(f64, f64, f64)>,
    pub waited: Option<Done>,
    pub syscalls: Option<f64>,
    /// Bytes of an idle connection.
    pub idle: Option<f64>,
}

impl Row {
    pub fn begun(proxy: &Running) -> Self {
        Self {
            kind: proxy.kind,
            start: proxy.took.as_secs_f64() * 1e3,
            resident: resident(proxy.pid()),
            rounds: Vec::new(),
            waited: None,
            syscalls: None,
            idle: None,
        }
    }

    pub fn add(&mut self, used: Usage, done: &Done) {
        let each = 1e6 / done.requests as f64;
        self.rounds.push((used.whole() * each, used.user * each, done.rate()));
    }

    fn cpu(&self) -> f64 {
        median(self.rounds.iter().map(|round| round.0))
    }

    pub fn rate(&self) -> f64 {
        median(self.rounds.iter().map(|round| round.2))
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// `smallest` are the rows of the first size; what a tenant takes is the difference to them.
pub fn print(tenants: usize, rate: f64, direct: &Done, rows: &[Row], smallest: &[Row]) {
    let of = |kind| rows.iter().find(|row| row.kind == kind).map_or(f64::NAN, Row::cpu);
    let (haproxy, bare) = (of(Kind::Haproxy), of(Kind::BareSecure));
    println!("\n{tenants} tenants; added time at {rate:.0} requests a second\n");
    println!(
        "| proxy | CPU, µs a request | of it user | to HAProxy | to bare pingora, HTTP/2 mTLS | syscalls a request | requests a second | added p50, µs | added p99, µs | resident, MiB | bytes a tenant | start, ms | KiB an idle connection |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    for row in rows {
        let user = median(row.rounds.iter().map(|round| round.1));
        let added = |share: f64| row.waited.as_ref().map(|done| done.wait(share) - direct.wait(share));
        let first = smallest.iter().find(|first| first.kind == row.kind);
        let tenant = first.map(|first| (row.resident - first.resident) * 1024.0 / tenants as f64);
        println!(
            "| {} | {:.1} | {user:.1} | {:.2} | {:.2} | {} | {:.0} | {} | {} | {:.0} | {} | {:.0} | {} |",
            row.kind.name(),
            row.cpu(),
            row.cpu() / haproxy,
            row.cpu() / bare,
            shown(row.syscalls, 2),
            row.rate(),
            shown(added(0.5), 0),
            shown(added(0.99), 0),
            row.resident / 1024.0,
            shown(tenant, 0),
            row.start,
            shown(row.idle.map(|bytes| bytes / 1024.0), 2),
        );
    }
}

fn shown(value: Option<f64>, places: usize) -> String {
    value.map_or_else(String::new, |value| format!("{value:.places$}"))
}
