//! Every metric is in docs/metrics.md, every alert rests on metrics that are there and has its
//! paragraph in docs/runbook.md.

use std::collections::BTreeSet;

use crate::tree::{files, none, relative, root};

/// What a registry is told a name by.
const CALLS: &[&str] = &[".counter(", ".gauge(", ".latency(", ".histogram(", ".register("];
/// Endings of a histogram's and a counter's series.
const ENDINGS: &[&str] = &["_bucket", "_count", "_sum", "_total"];

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// Names as the code says them, with their process's prefix and without an ending.
fn registered() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for path in files("", &["rs"]) {
        let place = relative(&path);
        if place.starts_with("docs/laws/") || place.contains("/tests") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let product = text.split("mod tests {").next().unwrap_or_default();
        let prefixes: &[&str] = match place.split('/').collect::<Vec<_>>().as_slice() {
            ["router", ..] => &["router_"],
            ["global", "trace", ..] => &["router_", "cytoplane_"],
            _ => &["cytoplane_"],
        };
        for call in CALLS {
            let literals = product.split(call).skip(1).filter_map(|rest| rest.trim_start().strip_prefix('"'));
            let found = literals.filter_map(|rest| rest.split('"').next()).filter(|name| is_name(name));
            names.extend(found.flat_map(|name| prefixes.iter().map(move |prefix| format!("{prefix}{name}"))));
        }
    }
    names
}

fn is_name(word: &str) -> bool {
    word.len() > 2 && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// First cells of the table's rows, in backticks.
fn documented() -> BTreeSet<String> {
    let page = read("docs/metrics.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| row.split('`').next()).map(str::to_owned).collect()
}

fn without_ending(name: &str) -> &str {
    ENDINGS.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name)
}

#[test]
fn every_metric_is_documented() {
    let (registered, documented) = (registered(), documented());
    assert!(registered.len() > 30, "the metrics were not found: {registered:?}");
    let bare: BTreeSet<String> = documented.iter().map(|name| without_ending(name).to_owned()).collect();
    let missing = registered.difference(&bare).map(|name| format!("{name} is not in docs/metrics.md"));
    let gone = bare.difference(&registered).map(|name| format!("{name} is in docs/metrics.md only"));
    none("docs/metrics.md lists the metrics", missing.chain(gone).collect());
}

#[test]
fn names_end_with_their_unit() {
    let units = ["_seconds", "_bytes", "_records", "_total", "_info", "_ratio"];
    let counts = [
        "router_table_version",
        "router_table_tenants",
        "router_limited_tenants",
        "router_shared_tenants",
        "router_keys",
        "router_key_cards",
        "router_revoked_sessions",
    ];
    let gauges = ["router_requests_in_flight", "router_connections"];
    let fits = |name: &String| {
        units.iter().any(|unit| name.ends_with(unit)) || counts.iter().chain(&gauges).any(|known| known == name)
    };
    none("a metric's name ends with its unit", documented().into_iter().filter(|name| !fits(name)).collect());
}

/// `(name, expression, anchor)` of each alert.
fn alerts() -> Vec<(String, String, String)> {
    let text = read("docs/alerts.yml");
    let field = |block: &str, key: &str| {
        let line = block.lines().find_map(|line| line.trim().strip_prefix(key).map(str::trim));
        line.unwrap_or_default().trim_matches('"').to_owned()
    };
    let blocks = text.split("- alert:").skip(1);
    blocks
        .map(|block| {
            let name = block.lines().next().unwrap_or_default().trim().to_owned();
            (name, field(block, "expr:"), field(block, "runbook:"))
        })
        .collect()
}

#[test]
fn every_alert_has_its_metrics_and_its_paragraph() {
    let (documented, runbook) = (documented(), read("docs/runbook.md"));
    let bare: BTreeSet<&str> = documented.iter().map(|name| without_ending(name)).collect();
    let alerts = alerts();
    assert!(alerts.len() >= 12, "only {} alerts were found", alerts.len());
    let mut findings = Vec::new();
    for (name, expression, link) in &alerts {
        let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let ours = words.filter(|word| word.starts_with("cytoplane_") || word.starts_with("router_"));
        for metric in ours.filter(|word| !bare.contains(without_ending(word))) {
            findings.push(format!("{name} rests on {metric}, which is not in docs/metrics.md"));
        }
        if *link != format!("docs/runbook.md#{}", name.to_lowercase()) {
            findings.push(format!("{name} does not name its paragraph: {link}"));
        }
        if !runbook.contains(&format!("\n## {name}\n")) {
            findings.push(format!("docs/runbook.md says nothing on {name}"));
        }
    }
    for heading in runbook.lines().filter_map(|line| line.strip_prefix("## ")) {
        if !alerts.iter().any(|(name, ..)| name == heading) {
            findings.push(format!("docs/runbook.md speaks of {heading}, which no rule raises"));
        }
    }
    none("every alert has its metrics and its paragraph", findings);
}
