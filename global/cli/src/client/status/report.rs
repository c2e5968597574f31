//! What is known of the site, and what of it needs attention.

use contracts::bundle;
use serde::Serialize;

/// A feed or an outbox that has been silent for longer needs attention.
const PATIENCE_SECONDS: f64 = 30.0;
/// So many records behind, the sink needs attention.
const LAG_RECORDS: u64 = 1_000_000;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub router: RouterReport,
    pub global: GlobalReport,
    pub cells: Vec<CellReport>,
    pub tenants: Vec<TenantReport>,
    /// Under way.
    pub moves: Vec<MoveReport>,
    /// One sentence for each thing that is not as it should be.
    pub attention: Vec<String>,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RouterReport {
    pub answers: bool,
    /// Why it is not ready to serve.
    pub unready: Option<String>,
    pub table_version: Option<u64>,
    pub feed_heard_seconds_ago: Option<f64>,
    /// Since it started, as all counts below.
    pub requests: u64,
    pub server_errors: u64,
    pub added_p99_ms: Option<f64>,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GlobalReport {
    pub answers: bool,
    pub ready: bool,
    /// Why cells and tenants are not listed.
    pub refused: Option<String>,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CellReport {
    pub name: String,
    pub kind: Option<String>,
    pub state: Option<String>,
    pub tenants: Option<u64>,
    pub services_serving: usize,
    pub services_missing: Vec<String>,
    /// Version of the bus contracts the cell has applied.
    pub contracts: Option<u32>,
    pub drift: Vec<String>,
    pub lag_records: Option<u64>,
    pub freshness_p99_seconds: Option<f64>,
    pub statement_p99_seconds: Option<f64>,
    /// From what made an event of the control bus true to its consumer having dealt with it.
    pub control_event_p50_seconds: Option<f64>,
    pub control_event_p99_seconds: Option<f64>,
    pub rows_committed: u64,
    pub dead_letters: u64,
    pub server_errors: u64,
    pub outbox_stalled_seconds: Option<f64>,
    /// Why it is not emptied further.
    pub drain_problem: Option<String>,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MoveReport {
    pub tenant: String,
    pub from: String,
    pub to: String,
    pub step: String,
    /// Why the step did not succeed when it was last tried.
    pub problem: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TenantReport {
    pub tenant: String,
    pub cell: String,
    pub generation: u64,
    pub tables: Vec<TableReport>,
    /// Why its tables are not listed.
    pub refused: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TableReport {
    pub table: String,
    pub rows: u64,
    pub lag_rows: u64,
}

impl Report {
    pub fn new(
        router: RouterReport,
        global: GlobalReport,
        cells: Vec<CellReport>,
        tenants: Vec<TenantReport>,
        moves: Vec<MoveReport>,
    ) -> Self {
        let mut attention = of_router(&router);
        attention.extend(of_global(&global));
        attention.extend(cells.iter().flat_map(of_cell));
        attention.extend(moves.iter().filter_map(of_move));
        Self { router, global, cells, tenants, moves, attention }
    }
}

fn of_router(router: &RouterReport) -> Vec<String> {
    if !router.answers {
        return vec!["the router does not answer".to_owned()];
    }
    let unready = router.unready.iter().map(|why| format!("the router is not ready: {why}"));
    let silent = match router.feed_heard_seconds_ago {
        Some(seconds) if seconds <= PATIENCE_SECONDS => None,
        Some(seconds) => Some(format!("the router has not heard of its routing table for {seconds:.0} s")),
        None => Some("the router has not heard of its routing table since it started".to_owned()),
    };
    unready.chain(silent).collect()
}

fn of_global(global: &GlobalReport) -> Option<String> {
    match (global.answers, global.ready) {
        (false, _) => Some("the global plane does not answer; known tenants are served meanwhile".to_owned()),
        (true, false) => Some("the global plane is not ready".to_owned()),
        (true, true) => None,
    }
}

fn of_cell(cell: &CellReport) -> Vec<String> {
    let mut found = Vec::new();
    let name = &cell.name;
    if cell.services_serving == 0 {
        return vec![format!("cell {name} does not answer")];
    }
    if !cell.services_missing.is_empty() {
        found.push(format!("cell {name} does not serve {}", cell.services_missing.join(", ")));
    }
    if let Some(version) = cell.contracts.filter(|version| *version != bundle::VERSION) {
        found.push(format!("cell {name} has applied contracts {version}, this build's are {}", bundle::VERSION));
    }
    if !cell.drift.is_empty() {
        found.push(format!("the buses of cell {name} differ from the contracts: {}", cell.drift.join("; ")));
    }
    if let Some(lag) = cell.lag_records.filter(|lag| *lag > LAG_RECORDS) {
        found.push(format!("the tables of cell {name} are {lag} records behind"));
    }
    if let Some(seconds) = cell.outbox_stalled_seconds.filter(|seconds| *seconds > PATIENCE_SECONDS) {
        found.push(format!("events of cell {name} have been waiting for their bus for {seconds:.0} s"));
    }
    if let Some(problem) = &cell.drain_problem {
        found.push(format!("cell {name} is not emptied further: {problem}"));
    }
    found
}

fn of_move(one: &MoveReport) -> Option<String> {
    let problem = one.problem.as_ref()?;
    Some(format!("the move of {} from {} to {} is held up at {}: {problem}", one.tenant, one.from, one.to, one.step))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound() -> (RouterReport, GlobalReport, CellReport) {
        let router = RouterReport { answers: true, feed_heard_seconds_ago: Some(1.0), ..RouterReport::default() };
        let global = GlobalReport { answers: true, ready: true, refused: None };
        let cell = CellReport { name: "shared-1".into(), services_serving: 9, ..CellReport::default() };
        (router, global, cell)
    }

    fn attention(change: impl FnOnce(&mut RouterReport, &mut GlobalReport, &mut CellReport)) -> Vec<String> {
        let (mut router, mut global, mut cell) = sound();
        change(&mut router, &mut global, &mut cell);
        Report::new(router, global, vec![cell], Vec::new(), Vec::new()).attention
    }

    #[test]
    fn a_move_that_is_held_up_needs_attention_and_one_under_way_does_not() {
        let one = |problem: Option<&str>| MoveReport { problem: problem.map(str::to_owned), ..MoveReport::default() };
        let (router, global, cell) = sound();
        let report = Report::new(router, global, vec![cell], Vec::new(), vec![one(None), one(Some("no answer"))]);
        assert_eq!(report.attention.len(), 1);
    }

    #[test]
    fn a_sound_site_needs_no_attention() {
        assert_eq!(attention(|_, _, _| ()), Vec::<String>::new());
    }

    #[test]
    fn each_fault_is_one_sentence() {
        let faults: [fn(&mut RouterReport, &mut GlobalReport, &mut CellReport); 10] = [
            |router, _, _| router.answers = false,
            |router, _, _| router.unready = Some("no keys".into()),
            |router, _, _| router.feed_heard_seconds_ago = Some(31.0),
            |_, global, _| global.answers = false,
            |_, _, cell| cell.services_serving = 0,
            |_, _, cell| cell.services_missing = vec!["audit".into()],
            |_, _, cell| cell.contracts = Some(bundle::VERSION + 1),
            |_, _, cell| cell.lag_records = Some(LAG_RECORDS + 1),
            |_, _, cell| cell.outbox_stalled_seconds = Some(31.0),
            |_, _, cell| cell.drain_problem = Some("no cell takes new tenants".into()),
        ];
        for (number, fault) in faults.into_iter().enumerate() {
            assert_eq!(attention(fault).len(), 1, "fault {number}");
        }
    }
}
