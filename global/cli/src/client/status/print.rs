//! The report on a terminal.

use super::report::{CellReport, GlobalReport, MoveReport, Report, RouterReport, TenantReport};
use crate::client::table::{grouped, render};

pub fn text(report: &Report) -> String {
    let plane = vec![router(&report.router), global(&report.global)];
    let cells = report.cells.iter().map(cell).collect();
    let tenants = report.tenants.iter().flat_map(tenant).collect();
    let mut parts = vec![
        render(&["part", "state", "requests", "5xx", "added p99", "table"], plane, &[2, 3, 4, 5]),
        render(
            &[
                "cell",
                "state",
                "services",
                "contracts",
                "tenants",
                "rows committed",
                "lag",
                "freshness p99",
                "statement p99",
                "control event p99",
                "dead letters",
                "5xx",
            ],
            cells,
            &[4, 5, 6, 7, 8, 9, 10, 11],
        ),
        render(&["tenant", "cell", "generation", "table", "rows", "lag"], tenants, &[2, 4, 5]),
    ];
    if !report.moves.is_empty() {
        let moves = report.moves.iter().map(one_move).collect();
        parts.push(render(&["moves", "from", "to", "step"], moves, &[]));
    }
    match report.attention.as_slice() {
        [] => parts.push("all is well".to_owned()),
        attention => parts.extend(attention.iter().map(|line| format!("attention: {line}"))),
    }
    parts.join("\n")
}

const NOTHING: &str = "-";

fn or_nothing<T>(value: Option<T>, show: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| NOTHING.to_owned(), show)
}

fn seconds(value: Option<f64>) -> String {
    or_nothing(
        value,
        |seconds| if seconds < 1.0 { format!("{:.0} ms", seconds * 1000.0) } else { format!("{seconds:.1} s") },
    )
}

fn router(router: &RouterReport) -> Vec<String> {
    let state = match (router.answers, &router.unready) {
        (false, _) => "does not answer".to_owned(),
        (true, Some(why)) => format!("not ready: {why}"),
        (true, None) => "ready".to_owned(),
    };
    let version = or_nothing(router.table_version, |version| {
        let age = or_nothing(router.feed_heard_seconds_ago, |seconds| format!("{seconds:.0} s"));
        format!("version {version}, heard {age} ago")
    });
    let added = or_nothing(router.added_p99_ms, |ms| format!("{ms:.1} ms"));
    vec!["router".to_owned(), state, grouped(router.requests), grouped(router.server_errors), added, version]
}

fn global(global: &GlobalReport) -> Vec<String> {
    let state = match (global.answers, global.ready, &global.refused) {
        (false, ..) => "does not answer".to_owned(),
        (true, false, _) => "not ready".to_owned(),
        (true, true, None) => "ready".to_owned(),
        (true, true, Some(why)) => format!("ready; cells and tenants are not listed: {why}"),
    };
    let nothing = || NOTHING.to_owned();
    vec!["global plane".to_owned(), state, nothing(), nothing(), nothing(), nothing()]
}

fn cell(cell: &CellReport) -> Vec<String> {
    let all = cell.services_serving + cell.services_missing.len();
    let state = match (cell.services_serving, &cell.state) {
        (0, _) => "does not answer".to_owned(),
        (_, Some(state)) => state.clone(),
        (_, None) => "answers".to_owned(),
    };
    let contracts = or_nothing(cell.contracts, |version| match cell.drift.len() {
        0 => format!("version {version}"),
        drift => format!("version {version}, {drift} differences"),
    });
    vec![
        cell.name.clone(),
        state,
        format!("{} of {all}", cell.services_serving),
        contracts,
        or_nothing(cell.tenants, |tenants| tenants.to_string()),
        grouped(cell.rows_committed),
        or_nothing(cell.lag_records, grouped),
        seconds(cell.freshness_p99_seconds),
        seconds(cell.statement_p99_seconds),
        seconds(cell.control_event_p99_seconds),
        grouped(cell.dead_letters),
        grouped(cell.server_errors),
    ]
}

fn tenant(tenant: &TenantReport) -> Vec<Vec<String>> {
    let row = |table: String, rows: String, lag: String| {
        vec![tenant.tenant.clone(), tenant.cell.clone(), tenant.generation.to_string(), table, rows, lag]
    };
    let nothing = || NOTHING.to_owned();
    match &tenant.refused {
        Some(reason) => vec![row(reason.clone(), nothing(), nothing())],
        None if tenant.tables.is_empty() => vec![row("no streams".to_owned(), nothing(), nothing())],
        None => tenant.tables.iter().map(|t| row(t.table.clone(), grouped(t.rows), grouped(t.lag_rows))).collect(),
    }
}

fn one_move(one: &MoveReport) -> Vec<String> {
    vec![one.tenant.clone(), one.from.clone(), one.to.clone(), one.step.clone()]
}
